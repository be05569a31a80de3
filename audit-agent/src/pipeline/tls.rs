//! TLS sessions: plaintext streams that have to be tied to the connection that carries them.
//!
//! In: plaintext events of a session, and which socket its library calls used. Out: the connection whose exchanges the
//! bytes are, or a doubt. Never: bytes of one session on two connections, or two live sessions on one connection,
//! without the doubt being kept for the records.

use crate::limits;
use audit_common::abi::{ConnKey, Shortfall};
use audit_common::decode::{Data, Direction};
use std::collections::HashMap;

/// A session's object in a process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionId {
    pub pid: u32,
    pub session: ConnKey,
}

/// How a session was tied to its connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Pairing {
    /// No socket was seen: the peer is not known.
    #[default]
    Unknown,
    /// The library used the socket itself, inside its call.
    Call,
    /// The thread that read the socket gave its bytes to the library next.
    Thread,
    /// There were contradicting signs: the plaintext is right, the peer may be another's.
    Uncertain,
}

impl Pairing {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Call => "call",
            Self::Thread => "thread",
            Self::Uncertain => "uncertain",
        }
    }
}

/// A connection's bytes are TLS records.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls {
    pub session: Option<SessionId>,
    pub pairing: Pairing,
    /// Plaintext of it was seen.
    pub seen: bool,
}

/// Whether a connection begins with a TLS record (RFC 8446 section 5.1): type, then version 3.x.
pub fn is_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, 0..=4, ..])
}

/// A plaintext event that waits for its session's socket.
#[derive(Debug)]
pub struct Held {
    direction: Direction,
    eof: bool,
    offset: u64,
    stream_len: u32,
    shortfall: Shortfall,
    bytes: Vec<u8>,
    pub time_ns: u64,
}

impl Held {
    pub fn data(&self, session: ConnKey) -> Data<'_> {
        Data {
            conn: session,
            direction: self.direction,
            eof: self.eof,
            joined: false,
            offset: self.offset,
            stream_len: self.stream_len,
            shortfall: self.shortfall,
            bytes: &self.bytes,
        }
    }
}

#[derive(Debug, Default)]
pub struct Session {
    /// The connection whose exchanges its bytes are.
    pub conn: Option<ConnKey>,
    /// Nothing of it is wanted.
    pub ignored: bool,
    /// Plaintext was on it before its first sight.
    pub joined: bool,
    /// Where each direction goes on: what lies before was given to a connection.
    pub next: [u64; 2],
    pub held: Vec<Held>,
    held_bytes: usize,
    pub last_ns: u64,
}

/// What a sign of a session's socket means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sign {
    /// The first, or one that a certain sign puts in another's place.
    Tie,
    /// Nothing new.
    Known,
    /// It contradicts an earlier one: which of both is right cannot be told.
    Doubt { other: Option<SessionId> },
}

/// The TLS sessions of all watched processes.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: HashMap<SessionId, Session>,
    by_conn: HashMap<ConnKey, SessionId>,
    held_bytes: usize,
}

impl Sessions {
    /// How many are known.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// The session, made at first sight; None when there are too many.
    pub fn of(&mut self, id: SessionId, joined: bool, time_ns: u64) -> Option<&mut Session> {
        if !self.by_id.contains_key(&id) && self.by_id.len() >= limits::CONNECTIONS {
            return None;
        }
        let session = self.by_id.entry(id).or_insert_with(|| Session {
            joined,
            ..Session::default()
        });
        session.last_ns = time_ns;
        Some(session)
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    /// Judges a sign that `id` uses `conn`; `certain` when the library used the socket itself.
    pub fn sign(&self, id: SessionId, conn: ConnKey, certain: bool) -> Sign {
        let before = self.by_id.get(&id).and_then(|session| session.conn);
        let other = self.by_conn.get(&conn).copied().filter(|other| *other != id);
        match (before, other) {
            (Some(before), _) if before == conn => Sign::Known,
            (None, None) => Sign::Tie,
            _ if certain => Sign::Tie,
            (_, other) => Sign::Doubt { other },
        }
    }

    /// From now on the session's bytes are the connection's. What both were tied to before is not any more.
    pub fn tie(&mut self, id: SessionId, conn: ConnKey) {
        if let Some(other) = self.by_conn.insert(conn, id)
            && other != id
            && let Some(session) = self.by_id.get_mut(&other)
        {
            session.conn = None;
        }
        if let Some(session) = self.by_id.get_mut(&id)
            && let Some(before) = session.conn.replace(conn)
            && before != conn
        {
            self.by_conn.remove(&before);
        }
    }

    /// Keeps an event until the socket is known; false when the caps say no, which leaves a hole at its offset.
    pub fn hold(&mut self, id: SessionId, data: &Data<'_>, time_ns: u64) -> bool {
        let Some(session) = self.by_id.get_mut(&id) else {
            return false;
        };
        let len = data.bytes.len();
        if session.held_bytes + len > limits::TLS_SESSION_HELD_BYTES
            || session.held.len() >= limits::TLS_SESSION_HELD_EVENTS
            || self.held_bytes + len > limits::TLS_HELD_BYTES
        {
            return false;
        }
        session.held_bytes += len;
        self.held_bytes += len;
        session.held.push(Held {
            direction: data.direction,
            eof: data.eof,
            offset: data.offset,
            stream_len: data.stream_len,
            shortfall: data.shortfall,
            bytes: data.bytes.to_vec(),
            time_ns,
        });
        true
    }

    /// Everything that was held, oldest first.
    pub fn release(&mut self, id: SessionId) -> Vec<Held> {
        let Some(session) = self.by_id.get_mut(&id) else {
            return Vec::new();
        };
        self.held_bytes -= session.held_bytes.min(self.held_bytes);
        session.held_bytes = 0;
        std::mem::take(&mut session.held)
    }

    /// Sessions whose bytes have waited since before `before_ns`, in an order that does not depend on addresses alone.
    pub fn waiting(&self, before_ns: u64) -> Vec<SessionId> {
        let waits = |session: &Session| session.held.first().is_some_and(|held| held.time_ns <= before_ns);
        let mut ids: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, session)| waits(session))
            .map(|(id, _)| *id)
            .collect();
        ids.sort();
        ids
    }

    /// The object was freed, or its process is gone.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.release(id);
        let session = self.by_id.remove(&id)?;
        if let Some(conn) = session.conn {
            self.by_conn.remove(&conn);
        }
        Some(session)
    }

    /// The connection is over; the session may live on.
    pub fn untie(&mut self, conn: ConnKey) -> Option<SessionId> {
        let id = self.by_conn.remove(&conn)?;
        if let Some(session) = self.by_id.get_mut(&id) {
            session.conn = None;
        }
        Some(id)
    }

    pub fn of_process(&self, pid: u32) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.by_id.keys().filter(|id| id.pid == pid).copied().collect();
        ids.sort();
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> SessionId {
        SessionId {
            pid: 1,
            session: ConnKey {
                sock: n,
                generation: 1,
            },
        }
    }

    fn conn(n: u64) -> ConnKey {
        ConnKey {
            sock: n << 32,
            generation: 1,
        }
    }

    fn sessions() -> Sessions {
        let mut sessions = Sessions::default();
        for n in 1..=2 {
            sessions.of(id(n), false, 0);
        }
        sessions
    }

    #[test]
    fn a_first_sign_ties_and_the_same_again_says_nothing_new() {
        let mut sessions = sessions();
        assert_eq!(sessions.sign(id(1), conn(1), false), Sign::Tie);
        sessions.tie(id(1), conn(1));
        assert_eq!(sessions.sign(id(1), conn(1), false), Sign::Known);
    }

    #[test]
    fn two_sessions_never_share_a_connection_silently() {
        let mut sessions = sessions();
        sessions.tie(id(1), conn(1));
        let sign = sessions.sign(id(2), conn(1), false);
        assert_eq!(sign, Sign::Doubt { other: Some(id(1)) });
    }

    #[test]
    fn a_session_that_shows_another_socket_is_in_doubt() {
        let mut sessions = sessions();
        sessions.tie(id(1), conn(1));
        assert_eq!(sessions.sign(id(1), conn(2), false), Sign::Doubt { other: None });
    }

    #[test]
    fn a_certain_sign_puts_an_earlier_one_right() {
        let mut sessions = sessions();
        sessions.tie(id(1), conn(1));
        assert_eq!(sessions.sign(id(2), conn(1), true), Sign::Tie);
        sessions.tie(id(2), conn(1));
        assert_eq!(sessions.get(id(1)).and_then(|s| s.conn), None);
        assert_eq!(sessions.get(id(2)).and_then(|s| s.conn), Some(conn(1)));
    }

    #[test]
    fn what_is_held_stays_under_its_cap() {
        let mut sessions = sessions();
        let bytes = vec![0; 64 * 1024];
        let data = |offset| Data {
            conn: id(1).session,
            direction: Direction::Tx,
            eof: false,
            joined: false,
            offset,
            stream_len: 64 * 1024,
            shortfall: Shortfall::None,
            bytes: &bytes,
        };
        let held = (0..64)
            .take_while(|n| sessions.hold(id(1), &data(n * 65536), 5))
            .count();
        assert_eq!(held * bytes.len(), limits::TLS_SESSION_HELD_BYTES);
        assert_eq!(sessions.waiting(5), [id(1)]);
        assert_eq!(sessions.release(id(1)).len(), held);
        assert_eq!(sessions.held_bytes, 0);
    }

    #[test]
    fn knows_a_tls_record_from_a_request_line() {
        assert!(is_record(&[22, 3, 1, 2, 0]));
        assert!(is_record(&[23, 3, 3]));
        assert!(!is_record(b"GET / HTTP/1.1"));
        assert!(!is_record(&[22]));
    }
}
