//! What happens by the clock: expiry, heartbeats, losses, and the orderly end.
//!
//! In: ticks and the kernel side's loss counters. Out: heartbeat, gap and stop records.

use super::{Output, Pipeline};
use crate::record::{AgentStop, Body, Gap, Heartbeat, rfc3339};
use audit_common::abi::ConnKey;
use audit_common::loss::LOSS_NAMES;
use std::collections::BTreeMap;

impl Pipeline {
    pub(super) fn tick(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        self.now_ns = self.now_ns.max(boot_ns);
        self.processes.expire(boot_ns);
        self.clients.expire(boot_ns);
        self.hops.expire(boot_ns);
        self.actions_tick(boot_ns, false, out);
        self.connections_tick(boot_ns, out);
        self.tls_tick(boot_ns, out);
        if boot_ns.saturating_sub(self.heartbeat_ns) >= self.options.heartbeat_ns {
            self.heartbeat_ns = boot_ns;
            let body = Body::Heartbeat(Heartbeat {
                counters: self.totals(),
                heartbeat_s: self.options.heartbeat_s(),
            });
            out.push(self.record(body, boot_ns));
        }
    }

    pub(super) fn lost(&mut self, boot_ns: u64, events: Vec<u64>, bytes: Vec<u64>, out: &mut Vec<Output>) {
        let grown = |new: &[u64], old: &[u64]| {
            let pairs = new
                .iter()
                .enumerate()
                .map(|(i, n)| (i, n.saturating_sub(old.get(i).copied().unwrap_or(0))));
            let named = pairs.filter(|(_, by)| *by > 0);
            named
                .filter_map(|(i, by)| Some(((*LOSS_NAMES.get(i)?).to_owned(), by)))
                .collect::<BTreeMap<_, _>>()
        };
        let (lost, lost_bytes) = (grown(&events, &self.losses.0), grown(&bytes, &self.losses.1));
        self.losses = (events, bytes);
        if !lost.is_empty() {
            let until = Some(rfc3339(self.unix_ns(boot_ns)));
            let gap = Gap {
                place: "ring_buffer".into(),
                lost,
                lost_bytes,
                until,
                ..Gap::default()
            };
            out.push(self.record(Body::Gap(gap), boot_ns));
        }
    }

    pub(super) fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals: BTreeMap<String, u64> = self
            .counters
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        totals.insert("connections_open".into(), self.connections.len() as u64);
        totals.insert("tls_sessions_open".into(), self.plaintext.sessions.count() as u64);
        for (index, count) in self.losses.0.iter().enumerate() {
            if let Some(name) = LOSS_NAMES.get(index) {
                totals.insert(format!("lost_{name}"), *count);
            }
        }
        totals
    }

    pub(super) fn stopped(&mut self, boot_ns: u64, reason: String, out: &mut Vec<Output>) {
        let mut keys: Vec<ConnKey> = self.connections.keys().copied().collect();
        keys.sort();
        for key in keys {
            self.end(key, true, out);
        }
        self.declare_unread(boot_ns, out);
        self.actions_tick(boot_ns, true, out);
        let body = Body::AgentStop(AgentStop {
            counters: self.totals(),
            reason,
        });
        out.push(self.record(body, boot_ns));
    }
}
