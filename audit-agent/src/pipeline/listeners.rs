//! Verdicts: what connections and listening ports have shown to be, and what of them is followed on.
//!
//! In: the evidence of a connection's exchanges. Out: verdicts for the kernel side. Never: a verdict on a listener that
//! an inference call on it does not take back.

use super::exchange::Evidence;
use super::{Output, Pipeline};
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;

/// Requests that are no calls, after which a listener that never had one is followed by its heads only.
const HEAD_ONLY_AFTER: u64 = 64;

/// What a listening port has shown to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listener {
    pub inference: u64,
    other: u64,
    not_http: u64,
    verdict: Option<Verdict>,
}

impl Pipeline {
    /// A connection has shown something of what it is.
    pub(super) fn judge(&mut self, key: ConnKey, before: Evidence, after: Evidence, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.upstream {
            return self.judge_upstream(key, before, after, out);
        }
        let pid = connection.watched_pid();
        // Where models are served, whatever hides among other bytes is looked for.
        let port = connection.local.map(|local| local.port());
        let serves = port.and_then(|port| self.listeners.get(&port));
        if after.not_http && serves.is_none_or(|listener| listener.inference == 0) {
            connection.ignored = true;
            out.push(connection.judged(Verdict::Ignore));
            *self.counters.entry("connections_not_http").or_default() += 1;
        }
        if after.inference > 0 && before.inference == 0 {
            let unwanted = self
                .processes
                .get(pid)
                .is_some_and(|fact| !self.options.filter.allows_process(fact));
            let verdict = if unwanted { Verdict::Ignore } else { Verdict::Watch };
            connection.ignored |= unwanted;
            out.push(connection.judged(verdict));
            if !unwanted {
                if self.processes.wants_models(pid, self.now_ns) {
                    out.push(Output::NeedModels { pid });
                }
                self.follow_server(pid, out);
                self.leave_other_end(key, out);
            }
        }
        let local = self.connections.get(&key).and_then(|connection| connection.local);
        let Some(port) = local.map(|local| local.port()) else {
            return;
        };
        let listener = self.listeners.entry(port).or_default();
        listener.inference += after.inference - before.inference;
        listener.other += after.other - before.other;
        listener.not_http += u64::from(after.not_http);
        let verdict = if listener.inference > 0 {
            Verdict::Watch
        } else if listener.other >= HEAD_ONLY_AFTER {
            Verdict::HeadOnly
        } else {
            return;
        };
        if listener.verdict != Some(verdict) {
            listener.verdict = Some(verdict);
            out.push(Output::Listener { port, verdict });
            if verdict == Verdict::Watch {
                self.watch_all(port, out);
            }
        }
    }

    /// A listener under a head-only verdict turned out to be an inference server after all.
    fn watch_all(&self, port: u16, out: &mut Vec<Output>) {
        let of_port = self
            .connections
            .values()
            .filter(|c| !c.ignored && !c.upstream && c.local.is_some_and(|l| l.port() == port));
        out.extend(of_port.map(|connection| connection.judged(Verdict::Watch)));
    }
}
