//! Connections from their opening to their end.
//!
//! In: openings and ends from the kernel side, and ticks. Out: verdicts, look-ups, and gap records for bytes that belong
//! to no exchange. Never: more connections than [`limits::CONNECTIONS`]; the quietest goes first.

use super::connection::Connection;
use super::exchange::{Evidence, Exchanges};
use super::{Output, Pipeline, clients};
use crate::flow::GapCause;
use crate::record::{self, Body, Gap, INTEGER_MAX};
use crate::{http, limits};
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use audit_common::decode::{Conn, Event};
use std::collections::BTreeMap;

/// Late data events may follow the end of a connection by this much.
const GRACE_NS: u64 = 200_000_000;
/// A unix connection has no death event: after its peer's end it is over when it is quiet for so long.
const UNIX_QUIET_NS: u64 = 2_000_000_000;
/// An open exchange that is quiet for so long is compared with the kernel's counters.
const SYNC_AFTER_NS: u64 = 2_000_000_000;
/// How long bytes without a record wait for more of them before they are declared.
const DECLARE_AFTER_NS: u64 = 1_000_000_000;

/// The name of a unix socket as text, `@` first when it is abstract (unix(7)).
fn unix_path(name: &[u8]) -> Option<String> {
    let (mark, name) = match name.split_first()? {
        (0, rest) => ("@", rest),
        _ => ("", name.split(|byte| *byte == 0).next()?),
    };
    Some(format!("{mark}{}", String::from_utf8_lossy(name)))
}

impl Pipeline {
    pub(super) fn opened(&mut self, conn: &Conn, event: &Event<'_>, out: &mut Vec<Output>) {
        const AF_UNIX: u16 = 1;
        let is_unix = conn.family == AF_UNIX;
        if self.connections.len() >= limits::CONNECTIONS {
            self.evict(out);
        }
        let (mut local, mut remote) = (clients::local(conn), clients::remote(conn));
        if conn.upstream {
            std::mem::swap(&mut local, &mut remote);
        }
        let client_pid = if conn.upstream {
            Some(event.pid)
        } else if is_unix {
            Some(conn.peer_pid).filter(|pid| *pid != 0)
        } else {
            self.clients.take(conn)
        };
        self.look_up(event.pid, out);
        match (client_pid, local, remote) {
            (Some(pid), ..) if pid != event.pid => self.look_up(pid, out),
            (None, Some(local), Some(remote)) if local.ip() == remote.ip() || remote.ip().is_loopback() => {
                out.push(Output::NeedPeer {
                    conn: conn.conn,
                    local,
                    remote,
                });
            }
            _ => {}
        }
        self.count("connections", 1);
        let ignored = self.is_unwanted(conn, event.pid);
        // Birth of a unix connection is not seen, but its first bytes tell as well as a TCP one's.
        let joined = conn.joined && !is_unix;
        self.connections.insert(
            conn.conn,
            Connection {
                key: conn.conn,
                upstream: conn.upstream,
                netns: conn.netns,
                local,
                remote,
                unix_path: unix_path(conn.unix_name),
                is_unix,
                server_pid: (!conn.upstream).then_some(event.pid),
                client_pid,
                peer_uid: is_unix.then_some(conn.peer_uid),
                joined: conn.joined,
                http: http::Connection::new(joined),
                exchanges: Exchanges::new(self.options.content.stores()),
                sessions: 0,
                streams: Default::default(),
                gaps: BTreeMap::new(),
                last_ns: event.time_ns,
                closed_ns: None,
                ignored,
                head_only: false,
                tls: None,
                wire_bytes: 0,
                tcp_counted: None,
            },
        );
        if ignored {
            out.push(Output::Verdict {
                conn: conn.conn,
                verdict: Verdict::Ignore,
            });
        }
        self.pair_ends(conn.conn, out);
    }

    /// The operator chose ports, and this connection is none's; what a server opens is wanted when the server is.
    fn is_unwanted(&self, conn: &Conn, pid: u32) -> bool {
        let filter = &self.options.filter;
        if conn.upstream {
            return filter.chooses_ports() && !self.processes.has_served_inference(pid);
        }
        conn.local_port != 0 && !filter.allows_port(conn.local_port)
    }

    pub(super) fn closed(&mut self, conn: &Conn, time_ns: u64, out: &mut Vec<Output>) {
        if self
            .connections
            .get(&conn.conn)
            .is_some_and(|connection| connection.tls.is_none())
        {
            self.catch_up(
                conn.conn,
                conn.rx_bytes,
                conn.tx_bytes,
                GapCause::Ring,
                time_ns,
                out,
            );
        }
        match self.connections.get_mut(&conn.conn) {
            Some(connection) => {
                connection.closed_ns.get_or_insert(time_ns);
                connection.wire_bytes = conn.rx_bytes.saturating_add(conn.tx_bytes);
            }
            None => {
                self.declare_unopened(conn, time_ns, out);
                out.push(Output::Forget(conn.conn));
            }
        }
    }

    /// Ends the connections that are over at `boot_ns`, and asks for the kernel's counters of those that are stuck.
    pub(super) fn connections_tick(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        let quiet = |connection: &Connection| boot_ns.saturating_sub(connection.last_ns);
        let over = |connection: &&Connection| match connection.closed_ns {
            Some(closed) => boot_ns.saturating_sub(closed) >= GRACE_NS,
            None => connection.is_unix && connection.streams[0].ended && quiet(connection) >= UNIX_QUIET_NS,
        };
        let mut ended: Vec<ConnKey> = self.connections.values().filter(over).map(|c| c.key).collect();
        ended.sort();
        for key in ended {
            self.end(key, false, out);
        }
        let stuck =
            |connection: &&Connection| connection.exchanges.open() > 0 && quiet(connection) >= SYNC_AFTER_NS;
        let mut stuck: Vec<_> = self.connections.values().filter(stuck).collect();
        stuck.sort_by_key(|connection| connection.key);
        out.extend(stuck.into_iter().filter_map(Connection::sync));
        let before_ns = boot_ns.saturating_sub(DECLARE_AFTER_NS);
        let skipped = |connection: &&Connection| connection.exchanges.skipped_before(before_ns);
        let mut skipped: Vec<ConnKey> = self.connections.values().filter(skipped).map(|c| c.key).collect();
        skipped.sort();
        for key in skipped {
            self.declare_skipped(key, out);
        }
    }

    /// A connection is over, or (`lost`) out of our sight: what is open on it ends, and what could not be assigned
    /// is declared.
    pub(super) fn end(&mut self, key: ConnKey, lost: bool, out: &mut Vec<Output>) {
        self.declare_unseen(key, out);
        if !self.connections.contains_key(&key) {
            return;
        }
        self.end_exchanges(key, lost, out);
        self.tls_ended(key, out);
        if let Some(connection) = self.connections.remove(&key) {
            self.ends.remove(&connection);
        }
        out.push(Output::Forget(key));
    }

    /// Ends what is open on a connection, as a part when it is `lost`, and declares what could not be assigned.
    pub(super) fn end_exchanges(&mut self, key: ConnKey, lost: bool, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let time_ns = connection.closed_ns.unwrap_or(connection.last_ns);
        let open = connection.exchanges.numbers();
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        let Connection { http, exchanges, .. } = connection;
        let mut sink = |event: http::HttpEvent<'_>| finished.extend(exchanges.event(event, time_ns, hasher));
        if lost {
            http.lose(&mut sink)
        } else {
            http.close(&mut sink)
        }
        self.finish(key, &finished, out);
        for exchange in open {
            // An exchange may end without a call to tell of.
            let _ = self.hops.end((key, exchange), time_ns);
        }
        self.declare_skipped(key, out);
    }

    /// Bytes on a connection of an inference server that belong to no record.
    fn declare_skipped(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let (seen, missed) = (
            connection.exchanges.skipped_seen,
            connection.exchanges.skipped_missed,
        );
        let port = connection
            .local
            .filter(|_| !connection.upstream)
            .map(|local| local.port());
        let serves = port.is_some_and(|port| self.listeners.get(&port).is_some_and(|l| l.inference > 0));
        let evidence = connection.exchanges.evidence;
        // What nobody could look at may have been a call.
        let hidden = missed > 0 && connection.gaps.keys().any(|cause| *cause != GapCause::HeadOnly);
        // On TCP a request that was not seen shows in its numbers; unix sockets have none, nor has what a TLS library read.
        let numbered = !connection.is_unix && connection.tls.is_none();
        let unasked = connection.exchanges.unasked && !numbered;
        let unknown = evidence == Evidence::default() && (hidden || unasked);
        if connection.ignored
            || connection.exchanges.skipped() == 0
            || !(serves || unknown || evidence.inference > 0)
        {
            return;
        }
        connection.exchanges.skipped_seen = 0;
        connection.exchanges.skipped_missed = 0;
        let gap = Gap {
            place: "reassembly".into(),
            lost_bytes: BTreeMap::from([
                ("missed".into(), missed.min(INTEGER_MAX)),
                ("unassigned".into(), seen),
            ]),
            connection: Some(record::Connection {
                client: connection.client_name(),
                server: connection.server_name(),
                server_pid: connection.server_pid.map(u64::from),
            }),
            ..Gap::default()
        };
        let time_ns = connection.last_ns;
        out.push(self.record(Body::Gap(gap), time_ns));
    }

    /// Room for a new connection: the one that was quiet longest goes.
    pub(super) fn evict(&mut self, out: &mut Vec<Output>) {
        let quietest = self
            .connections
            .values()
            .min_by_key(|connection| connection.last_ns);
        if let Some(key) = quietest.map(|connection| connection.key) {
            self.count("connections_evicted", 1);
            self.end(key, true, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unix_path;

    #[test]
    fn names_of_unix_sockets_are_paths_or_abstract_or_none() {
        assert_eq!(unix_path(b"/run/a.sock\0"), Some("/run/a.sock".into()));
        assert_eq!(unix_path(b"/run/a.sock"), Some("/run/a.sock".into()));
        assert_eq!(unix_path(b"\0a\0b"), Some("@a\0b".into()));
        assert_eq!(unix_path(b""), None);
    }
}
