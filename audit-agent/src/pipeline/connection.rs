//! What is known of one connection.

use super::Output;
use super::exchange::Exchanges;
use super::tls::{SessionId, Tls};
use crate::flow::GapCause;
use crate::flow::stream::Stream;
use crate::http;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Debug)]
pub struct Connection {
    pub key: ConnKey,
    pub local: Option<SocketAddr>,
    pub remote: Option<SocketAddr>,
    pub unix_path: Option<String>,
    pub is_unix: bool,
    pub server_pid: u32,
    pub client_pid: Option<u32>,
    pub peer_uid: Option<u32>,
    pub joined: bool,
    pub http: http::Connection,
    pub exchanges: Exchanges,
    /// Received and sent.
    pub streams: [Stream; 2],
    /// Missing bytes since the last record, by cause.
    pub gaps: BTreeMap<GapCause, u64>,
    pub last_ns: u64,
    /// The kernel said that it is closed, then; late events may still follow.
    pub closed_ns: Option<u64>,
    /// Nothing more of it is wanted.
    pub ignored: bool,
    /// Its bytes are TLS records; what is looked at is the plaintext of a session.
    pub tls: Option<Tls>,
    /// Bytes on the socket in both directions, once it is closed.
    pub wire_bytes: u64,
}

impl Connection {
    /// A connection whose socket is not known: only the plaintext of its session is.
    pub fn of_session(id: SessionId, joined: bool, time_ns: u64) -> Self {
        let tls = Tls {
            session: Some(id),
            ..Tls::default()
        };
        Self {
            key: id.session,
            local: None,
            remote: None,
            unix_path: None,
            is_unix: false,
            server_pid: id.pid,
            client_pid: None,
            peer_uid: None,
            joined,
            http: http::Connection::new(joined),
            exchanges: Exchanges::default(),
            streams: Default::default(),
            gaps: BTreeMap::new(),
            last_ns: time_ns,
            closed_ns: None,
            ignored: false,
            tls: Some(tls),
            wire_bytes: 0,
        }
    }

    /// The request to apply a verdict to what is looked at: the socket, or the plaintext in its stead.
    pub fn judged(&self, verdict: Verdict) -> Output {
        match self.tls.and_then(|tls| tls.session) {
            Some(id) => Output::TlsVerdict { id, verdict },
            None => Output::Verdict {
                conn: self.key,
                verdict: if self.tls.is_some() {
                    Verdict::Counted
                } else {
                    verdict
                },
            },
        }
    }

    /// The request to tell what the kernel has counted of what is looked at.
    pub fn sync(&self) -> Option<Output> {
        match self.tls {
            None => Some(Output::NeedSync(self.key)),
            Some(tls) => tls.session.map(|id| Output::NeedTlsSync { id }),
        }
    }

    pub fn client_name(&self) -> Option<String> {
        self.remote.map(|address| address.to_string())
    }

    pub fn server_name(&self) -> Option<String> {
        self.local
            .map(|address| address.to_string())
            .or_else(|| self.unix_path.clone())
    }
}
