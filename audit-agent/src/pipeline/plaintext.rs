//! The pipeline's TLS side: plaintext to the exchanges of the connection that carries it.
//!
//! In: events of TLS libraries, connections whose first bytes are TLS records. Out: pieces of plaintext for
//! [`Pipeline::stream`], requests to the edges; what stays undecrypted is declared (`unread`). Never: ciphertext to a decoder.

mod unread;

use super::connection::Connection;
use super::exchange::Exchanges;
use super::tls::{Pairing, SessionId, Sessions, Sign, Tls};
use super::{Output, Pipeline};
use crate::flow::stream::Stream;
use crate::flow::{GapCause, index};
use crate::http;
use crate::limits;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use audit_common::decode::{Data, Event, Tls as TlsEvent};
use unread::Listeners;

/// How long plaintext waits for a sign of its socket.
const SOCKET_WAIT_NS: u64 = 1_000_000_000;

/// Everything that the pipeline knows of TLS.
#[derive(Debug, Default)]
pub struct Plaintext {
    pub sessions: Sessions,
    unread: Listeners,
}

impl Pipeline {
    /// The first bytes of a connection are a TLS record.
    pub(super) fn found_tls(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        connection.tls = Some(Tls::default());
        let pid = connection.watched_pid();
        out.push(Output::Verdict {
            conn: key,
            verdict: Verdict::Counted,
        });
        self.count("tls_connections", 1);
        if self.processes.tls(pid).is_empty() {
            out.push(Output::NeedTls { pid, at_once: true });
        }
    }

    /// A library call used a socket.
    pub(super) fn tls_socket(&mut self, tls: &TlsEvent, event: &Event<'_>, out: &mut Vec<Output>) {
        let id = SessionId {
            pid: event.pid,
            session: tls.session,
        };
        let sessions = &mut self.plaintext.sessions;
        let (Some(conn), Some(session)) = (tls.conn, sessions.of(id, tls.joined, event.time_ns)) else {
            return;
        };
        if session.conn == Some(id.session) {
            // Its bytes were waited for too long, and its exchanges have no peer.
            return;
        }
        // What was read last may have been for something else: a front reads its upstream in the clear on the same thread,
        // then decrypts what it has in store.
        let plain = |connection: &Connection| connection.tls.is_none() && !connection.joined;
        if !tls.inside && self.connections.get(&conn).is_some_and(plain) {
            return;
        }
        // What looked like no HTTP may have been ciphertext; every other refusal stays.
        let refused = |connection: &Connection| {
            connection.ignored && (connection.tls.is_some() || !connection.exchanges.evidence.not_http)
        };
        if self.connections.get(&conn).is_none_or(refused) {
            self.ignore_session(id, out);
            return;
        }
        let sessions = &self.plaintext.sessions;
        match sessions.sign(id, conn, tls.inside) {
            Sign::Known => {}
            Sign::Tie => {
                let pairing = if tls.inside {
                    Pairing::Call
                } else {
                    Pairing::Thread
                };
                self.tie(id, conn, pairing, out);
            }
            Sign::Doubt { other } => {
                let own = sessions.get(id).and_then(|session| session.conn);
                let others = other
                    .and_then(|other| sessions.get(other))
                    .and_then(|session| session.conn);
                for conn in [own, others].into_iter().flatten() {
                    self.doubt(conn);
                }
                self.count("tls_sockets_contradicted", 1);
                if own.is_none() {
                    self.without_socket(id, Pairing::Uncertain, out);
                }
            }
        }
    }

    fn doubt(&mut self, conn: ConnKey) {
        if let Some(tls) = self
            .connections
            .get_mut(&conn)
            .and_then(|connection| connection.tls.as_mut())
        {
            tls.pairing = Pairing::Uncertain;
        }
    }

    /// Nothing of a session is wanted: its socket is not one that is watched.
    fn ignore_session(&mut self, id: SessionId, out: &mut Vec<Output>) {
        self.plaintext.sessions.release(id);
        if let Some(session) = self.plaintext.sessions.get_mut(id) {
            session.ignored = true;
        }
        self.count("tls_sessions_ignored", 1);
        out.push(Output::TlsVerdict {
            id,
            verdict: Verdict::Ignore,
        });
    }

    /// The session's bytes are the connection's from now on, those that were held first.
    fn tie(&mut self, id: SessionId, conn: ConnKey, pairing: Pairing, out: &mut Vec<Output>) {
        self.plaintext.sessions.tie(id, conn);
        let (joined, next) = match self.plaintext.sessions.get(id) {
            Some(session) => (session.joined, session.next),
            None => return,
        };
        // What is open on it is another session's, and is out of sight from here on.
        let is_open = |connection: &Connection| connection.exchanges.open() > 0;
        if self.connections.get(&conn).is_some_and(is_open) {
            self.end_exchanges(conn, true, out);
        }
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if connection.tls.is_none() {
            out.push(Output::Verdict {
                conn,
                verdict: Verdict::Counted,
            });
        }
        connection.tls = Some(Tls {
            session: Some(id),
            pairing,
            ..Tls::default()
        });
        // It may have looked like no HTTP at all before it was known to be ciphertext.
        connection.ignored = false;
        connection.exchanges = Exchanges::new(self.options.content.stores());
        connection.sessions += 1;
        connection.http = http::Connection::new(joined);
        connection.streams = next.map(Stream::starting_at);
        self.give_held(id, conn, out);
    }

    fn give_held(&mut self, id: SessionId, conn: ConnKey, out: &mut Vec<Output>) {
        for held in self.plaintext.sessions.release(id) {
            self.plain(id, conn, &held.data(id.session), held.time_ns, out);
        }
    }

    /// No socket, or none for certain: the exchanges are recorded all the same, and say so.
    fn without_socket(&mut self, id: SessionId, pairing: Pairing, out: &mut Vec<Output>) {
        let Some(session) = self.plaintext.sessions.get(id) else {
            return;
        };
        let mut connection = Connection::of_session(id, session.joined, session.last_ns);
        connection.exchanges = Exchanges::new(self.options.content.stores());
        connection.streams = session.next.map(Stream::starting_at);
        if let Some(tls) = &mut connection.tls {
            tls.pairing = pairing;
        }
        if self.connections.len() >= limits::CONNECTIONS {
            self.evict(out);
        }
        self.connections.insert(id.session, connection);
        self.plaintext.sessions.tie(id, id.session);
        self.count("tls_sessions_without_socket", 1);
        self.give_held(id, id.session, out);
    }

    /// Plaintext of a session.
    pub(super) fn tls_data(&mut self, data: &Data<'_>, event: &Event<'_>, out: &mut Vec<Output>) {
        let id = SessionId {
            pid: event.pid,
            session: data.conn,
        };
        let Some(session) = self.plaintext.sessions.of(id, data.joined, event.time_ns) else {
            self.count("bytes_without_connection", u64::from(data.stream_len));
            return;
        };
        if session.ignored {
            return;
        }
        let conn = session.conn;
        match conn {
            Some(conn) => self.plain(id, conn, data, event.time_ns, out),
            None if !self.plaintext.sessions.hold(id, data, event.time_ns) => {
                self.without_socket(id, Pairing::Unknown, out);
                self.plain(id, id.session, data, event.time_ns, out);
            }
            None => {}
        }
    }

    fn plain(&mut self, id: SessionId, conn: ConnKey, data: &Data<'_>, time_ns: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&conn) else {
            return;
        };
        if let Some(tls) = &mut connection.tls {
            tls.seen = true;
        }
        connection.last_ns = connection.last_ns.max(time_ns);
        connection.used_by(id.pid);
        if !connection.ignored {
            self.stream(conn, data, time_ns, out);
        }
        let position = self
            .connections
            .get(&conn)
            .map(|connection| connection.streams[index(data.direction)].position());
        if let (Some(position), Some(session)) = (position, self.plaintext.sessions.get_mut(id)) {
            session.next[index(data.direction)] = position;
        }
    }

    /// The library's object is gone: no more plaintext will come, and what the kernel counted beyond it is missing.
    pub(super) fn tls_closed(&mut self, tls: &TlsEvent, event: &Event<'_>, out: &mut Vec<Output>) {
        let id = SessionId {
            pid: event.pid,
            session: tls.session,
        };
        self.tls_sync(id, tls.rx_bytes, tls.tx_bytes, event.time_ns, out);
        if self
            .plaintext
            .sessions
            .get(id)
            .is_some_and(|session| !session.held.is_empty())
        {
            self.without_socket(id, Pairing::Unknown, out);
        }
        let Some(conn) = self
            .plaintext
            .sessions
            .remove(id)
            .and_then(|session| session.conn)
        else {
            return;
        };
        if conn == id.session
            && let Some(connection) = self.connections.get_mut(&conn)
        {
            connection.closed_ns.get_or_insert(event.time_ns);
        }
    }

    pub(super) fn tls_sync(&mut self, id: SessionId, rx: u64, tx: u64, time_ns: u64, out: &mut Vec<Output>) {
        let conn = self
            .plaintext
            .sessions
            .get(id)
            .filter(|session| !session.ignored)
            .and_then(|session| session.conn);
        if let Some(conn) = conn {
            self.catch_up(conn, rx, tx, GapCause::Ring, time_ns, out);
        }
    }

    /// A TLS connection is over: its session is free for another, and undecrypted bytes are counted.
    pub(super) fn tls_ended(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        if let Some(id) = self.plaintext.sessions.untie(key) {
            out.push(Output::ForgetTls { id });
            self.plaintext.sessions.remove(id);
        }
        self.unread_ended(key);
    }

    pub(super) fn tls_tick(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        for id in self
            .plaintext
            .sessions
            .waiting(boot_ns.saturating_sub(SOCKET_WAIT_NS))
        {
            self.without_socket(id, Pairing::Unknown, out);
        }
        self.unread_tick(boot_ns, out);
    }

    /// A process ended: its sessions' objects are gone with it.
    pub(super) fn tls_process_ended(&mut self, pid: u32, out: &mut Vec<Output>) {
        for id in self.plaintext.sessions.of_process(pid) {
            let conn = self.plaintext.sessions.get(id).and_then(|session| session.conn);
            if conn.is_none_or(|conn| conn == id.session) {
                self.plaintext.sessions.remove(id);
                if conn.is_some() {
                    self.end(id.session, false, out);
                }
            }
            out.push(Output::ForgetTls { id });
        }
    }
}
