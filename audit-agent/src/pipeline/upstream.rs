//! Connections that servers open themselves, and the two ends of a connection that are both on this host.
//!
//! In: openings, and what connections have shown to be. Out: verdicts. Never: two records of one exchange: where the server
//! is watched, its end is the one that counts.

use super::connection::Connection;
use super::exchange::Evidence;
use super::{Output, Pipeline};
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use std::collections::HashMap;
use std::net::SocketAddr;

/// Connections to other things than inference APIs, after which those of a process that serves none are left alone.
const LEFT_ALONE_AFTER: u64 = 64;
/// Requests and bytes on one connection that are no calls, after which only its requests are looked at. Of a TLS
/// connection nothing is, then: plaintext cannot be followed by its heads.
const OTHER_REQUESTS: u64 = 8;
const OTHER_BYTES: u64 = 1024 * 1024;

/// Client and server of a TCP connection, with the network namespace where addresses mean nothing outside of it.
type Addresses = (u32, SocketAddr, SocketAddr);

/// Which of our connections are the two ends of one: the accepted, the opened.
#[derive(Debug, Default)]
pub struct Ends(HashMap<Addresses, [Option<ConnKey>; 2]>);

impl Ends {
    fn of(connection: &Connection) -> Option<Addresses> {
        let (client, server) = (connection.remote?, connection.local?);
        let netns = if server.ip().is_loopback() {
            connection.netns
        } else {
            0
        };
        Some((netns, client, server))
    }

    pub fn insert(&mut self, connection: &Connection) {
        if let Some(addresses) = Self::of(connection) {
            let [accepted, opened] = self.0.entry(addresses).or_default();
            let end = if connection.upstream { opened } else { accepted };
            *end = Some(connection.key);
        }
    }

    pub fn remove(&mut self, connection: &Connection) {
        let Some(addresses) = Self::of(connection) else {
            return;
        };
        let Some([accepted, opened]) = self.0.get_mut(&addresses) else {
            return;
        };
        for end in [accepted, opened] {
            end.take_if(|key| *key == connection.key);
        }
        if self.0.get(&addresses) == Some(&[None, None]) {
            self.0.remove(&addresses);
        }
    }

    fn other(&self, connection: &Connection) -> Option<ConnKey> {
        let [accepted, opened] = self.0.get(&Self::of(connection)?)?;
        if connection.upstream { *accepted } else { *opened }
    }
}

impl Pipeline {
    /// A connection is new: of its two ends the server's counts, once that has shown a call.
    pub(super) fn pair_ends(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        self.ends.insert(connection);
        let accepted = connection.upstream.then(|| self.ends.other(connection)).flatten();
        let shown = accepted
            .and_then(|key| self.connections.get(&key))
            .is_some_and(|accepted| !accepted.ignored && accepted.exchanges.evidence.inference > 0);
        if shown {
            self.leave(key, out);
        }
    }

    /// The server's end has shown a call.
    pub(super) fn leave_other_end(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let opened = self
            .connections
            .get(&key)
            .and_then(|connection| self.ends.other(connection));
        let Some(opened) = opened else { return };
        let client = self.connections.get(&opened).and_then(|opened| opened.client_pid);
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.client_pid = connection.client_pid.or(client);
        }
        self.leave(opened, out);
    }

    /// Nothing of the connection is wanted any more.
    fn leave(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        self.forget_calls(key);
        if let Some(connection) = self.connections.get_mut(&key)
            && !connection.ignored
        {
            connection.ignored = true;
            out.push(connection.judged(Verdict::Ignore));
        }
    }

    /// A connection that a server opened has shown something of what it is.
    pub(super) fn judge_upstream(
        &mut self,
        key: ConnKey,
        before: Evidence,
        after: Evidence,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let pid = connection.watched_pid();
        let tls = connection.tls.is_some();
        let seen: u64 = connection.streams.iter().map(|stream| stream.seen).sum();
        if after.not_http {
            self.count("connections_not_http", 1);
            self.leave(key, out);
        } else if after.inference > 0 {
            if std::mem::take(&mut connection.head_only) {
                out.push(connection.judged(Verdict::Watch));
            }
            let unwanted = |fact| !self.options.filter.allows_process(fact);
            if before.inference == 0 && self.processes.get(pid).is_some_and(unwanted) {
                self.leave(key, out);
            }
        } else if after.other >= OTHER_REQUESTS || (after.other > 0 && seen > OTHER_BYTES) {
            if tls {
                self.leave(key, out);
            } else {
                connection.head_only = true;
                out.push(connection.judged(Verdict::HeadOnly));
            }
        }
        if before == Evidence::default() && after != before && after.inference == 0 {
            self.leave_process_alone(pid, out);
        }
    }

    fn leave_process_alone(&mut self, pid: u32, out: &mut Vec<Output>) {
        let others = self.processes.other_upstream(pid);
        if others == LEFT_ALONE_AFTER && !self.processes.has_served_inference(pid) {
            self.count("upstream_left_alone", 1);
            out.push(Output::Upstream { pid, follow: false });
        }
    }

    /// A process has answered a call: what it asks of others belongs to it.
    pub(super) fn follow_server(&mut self, pid: u32, out: &mut Vec<Output>) {
        if self.processes.serves_inference(pid) {
            out.push(Output::Upstream { pid, follow: true });
        }
    }
}
