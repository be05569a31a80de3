//! Bytes that TCP moved and no program of the kernel side saw: by io_uring on the system call path, by a process that was
//! handed the socket, by a call whose end could not be watched. And connections whose opening was lost.
//!
//! In: TCP's own counts, or the kernel side's, of a connection that ends. Out: gaps of the exact size, at the end of what was seen; a gap record
//! for a connection of which nothing was. Never: a declaration before late events had their time.

use super::{Output, Pipeline, clients};
use crate::flow::GapCause;
use crate::record::{self, Body, Gap, INTEGER_MAX};
use audit_common::abi::ConnKey;
use audit_common::decode::{Conn, Event};
use std::collections::BTreeMap;

impl Pipeline {
    /// TCP has moved more on `conn` than was seen.
    pub(super) fn counted(&mut self, conn: &Conn, event: &Event<'_>, out: &mut Vec<Output>) {
        if let Some(connection) = self.connections.get_mut(&conn.conn) {
            connection.tcp_counted = Some((conn.rx_bytes, conn.tx_bytes));
            return;
        }
        let bytes = conn.rx_bytes.saturating_add(conn.tx_bytes);
        self.declare_whole(conn, GapCause::Unseen.name(), bytes, event.time_ns, out);
    }

    /// `conn` ends, and nothing is known of it: the ring buffer had no room when it was opened. What came of it since then was
    /// in no record.
    pub(super) fn declare_unopened(&mut self, conn: &Conn, time_ns: u64, out: &mut Vec<Output>) {
        let bytes = conn.rx_bytes.saturating_add(conn.tx_bytes);
        if bytes > 0 {
            self.count("connections_without_opening", 1);
            self.declare_whole(conn, "opening_lost", bytes, time_ns, out);
        }
    }

    /// A gap record for all of a connection.
    fn declare_whole(
        &mut self,
        conn: &Conn,
        name: &'static str,
        bytes: u64,
        time_ns: u64,
        out: &mut Vec<Output>,
    ) {
        let (own, other) = (clients::local(conn), clients::remote(conn));
        let (client, server) = if conn.upstream { (own, other) } else { (other, own) };
        if own.is_some_and(|own| !conn.upstream && !self.options.filter.allows_port(own.port())) {
            return;
        }
        let gap = Gap {
            place: "socket".into(),
            lost: BTreeMap::from([(name.into(), 1)]),
            lost_bytes: BTreeMap::from([(name.into(), bytes.min(INTEGER_MAX))]),
            connection: Some(record::Connection {
                client: client.map(|address| address.to_string()),
                server: server.map(|address| address.to_string()),
                server_pid: None,
            }),
            ..Gap::default()
        };
        out.push(self.record(Body::Gap(gap), time_ns));
    }

    /// A connection is over: what TCP counted beyond what was seen is missing.
    pub(super) fn declare_unseen(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let time_ns = connection.closed_ns.unwrap_or(connection.last_ns);
        if let (Some((rx, tx)), None) = (connection.tcp_counted, connection.tls) {
            self.catch_up(key, rx, tx, GapCause::Unseen, time_ns, out);
        }
    }
}
