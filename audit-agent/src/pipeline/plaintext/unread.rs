//! TLS that nobody could read.
//!
//! In: TLS connections that ended. Out: gap records, by listener and cause, with the bytes that stayed unread. Never: a word on a
//! connection that a server opened: it may have been anything, and is counted only.

use crate::limits;
use crate::pipeline::tls::Tls;
use crate::pipeline::{Output, Pipeline};
use crate::record::{self, Body, Gap, INTEGER_MAX};
use audit_common::abi::ConnKey;
use std::collections::BTreeMap;

/// How often listeners with unread TLS are declared anew, when they had more such connections.
const EVERY_NS: u64 = 10_000_000_000;

/// Why nobody could read a connection.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Unread {
    /// The process has no library that we can see into.
    Blind,
    /// It has one, but no call of it was seen that served the connection: most were there before the probes.
    Unseen,
}

impl Unread {
    /// Its name in gap records.
    fn name(self) -> &'static str {
        match self {
            Self::Blind => "connections_undecrypted",
            Self::Unseen => "connections_without_plaintext",
        }
    }

    fn counter(self) -> &'static str {
        match self {
            Self::Blind => "tls_connections_undecrypted",
            Self::Unseen => "tls_connections_without_plaintext",
        }
    }
}

/// Listeners by process and port.
#[derive(Debug, Default)]
pub struct Listeners {
    by_place: BTreeMap<(u32, u16, Unread), Listener>,
    declared_ns: u64,
}

/// A listener's TLS connections that ended unread.
#[derive(Debug, Default)]
struct Listener {
    connections: u64,
    bytes: u64,
    declared: u64,
    server: Option<String>,
}

impl Pipeline {
    /// A TLS connection is over: what of it was not decrypted is counted.
    pub(super) fn unread_ended(&mut self, key: ConnKey) {
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        // A session whose calls were seen said nothing: a health check that only connects.
        let told = |tls: Tls| tls.seen || tls.session.is_some();
        if connection.ignored || connection.tls.is_none_or(told) {
            return;
        }
        if connection.upstream {
            // It may have been anything: databases and downloads are TLS too.
            self.count("tls_upstream_without_plaintext", 1);
            return;
        }
        let (pid, bytes) = (connection.watched_pid(), connection.wire_bytes);
        let (port, server) = (
            connection.local.map_or(0, |local| local.port()),
            connection.server_name(),
        );
        let libraries = self.processes.tls(pid);
        let why = if libraries.iter().any(|library| library.problem.is_none()) {
            Unread::Unseen
        } else {
            Unread::Blind
        };
        self.count(why.counter(), 1);
        let unread = &mut self.plaintext.unread.by_place;
        let place = (pid, port, why);
        if unread.len() < limits::TLS_UNREAD || unread.contains_key(&place) {
            let listener = unread.entry(place).or_default();
            listener.connections += 1;
            listener.bytes = listener.bytes.saturating_add(bytes).min(INTEGER_MAX);
            listener.server = server;
        }
    }

    pub(super) fn unread_tick(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        if boot_ns.saturating_sub(self.plaintext.unread.declared_ns) >= EVERY_NS {
            self.plaintext.unread.declared_ns = boot_ns;
            self.declare_unread(boot_ns, out);
        }
    }

    /// TLS that nobody could read for the log, by listener.
    pub(in crate::pipeline) fn declare_unread(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        let mut gaps = Vec::new();
        for ((pid, _, why), listener) in &mut self.plaintext.unread.by_place {
            let new = listener.connections - listener.declared;
            if new == 0 {
                continue;
            }
            listener.declared = listener.connections;
            gaps.push(Gap {
                place: "tls".into(),
                lost: BTreeMap::from([(why.name().into(), new)]),
                lost_bytes: BTreeMap::from([("ciphertext".into(), std::mem::take(&mut listener.bytes))]),
                connection: Some(record::Connection {
                    client: None,
                    server: listener.server.clone(),
                    server_pid: Some((*pid).into()),
                }),
                ..Gap::default()
            });
        }
        out.extend(gaps.into_iter().map(|gap| self.record(Body::Gap(gap), boot_ns)));
    }
}
