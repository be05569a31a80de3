//! What is known of one connection.

use super::Output;
use super::exchange::Exchanges;
use super::tls::{SessionId, Tls};
use crate::flow::GapCause;
use crate::flow::stream::Stream;
use crate::http;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use audit_common::decode::{Data, Direction};
use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Debug)]
pub struct Connection {
    pub key: ConnKey,
    /// The watched process opened it: it sends the requests.
    pub upstream: bool,
    /// Network namespace.
    pub netns: u32,
    /// Of the server.
    pub local: Option<SocketAddr>,
    /// Of the client.
    pub remote: Option<SocketAddr>,
    pub unix_path: Option<String>,
    pub is_unix: bool,
    /// None when it is on another host.
    pub server_pid: Option<u32>,
    pub client_pid: Option<u32>,
    pub peer_uid: Option<u32>,
    pub joined: bool,
    pub http: http::Connection,
    pub exchanges: Exchanges,
    /// TLS sessions that carried it: each counts its exchanges from its own beginning.
    pub sessions: u64,
    /// Received and sent.
    pub streams: [Stream; 2],
    /// Missing bytes since the last record, by cause.
    pub gaps: BTreeMap<GapCause, u64>,
    pub last_ns: u64,
    /// The kernel said that it is closed, then; late events may still follow.
    pub closed_ns: Option<u64>,
    /// Nothing more of it is wanted.
    pub ignored: bool,
    /// Of responses only the heads are looked at: it was opened to what is no inference API so far.
    pub head_only: bool,
    /// Its bytes are TLS records; what is looked at is the plaintext of a session.
    pub tls: Option<Tls>,
    /// Bytes on the socket in both directions, once it is closed.
    pub wire_bytes: u64,
    /// Received and sent as TCP counted them, when that was more than the programs saw.
    pub tcp_counted: Option<(u64, u64)>,
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
            upstream: false,
            netns: 0,
            local: None,
            remote: None,
            unix_path: None,
            is_unix: false,
            server_pid: Some(id.pid),
            client_pid: None,
            peer_uid: None,
            joined,
            http: http::Connection::new(joined),
            exchanges: Exchanges::default(),
            sessions: 0,
            streams: Default::default(),
            gaps: BTreeMap::new(),
            last_ns: time_ns,
            closed_ns: None,
            ignored: false,
            head_only: false,
            tls: Some(tls),
            wire_bytes: 0,
            tcp_counted: None,
        }
    }

    /// The process whose socket it is; 0 when that is not known.
    pub fn watched_pid(&self) -> u32 {
        let pid = if self.upstream {
            self.client_pid
        } else {
            self.server_pid
        };
        pid.unwrap_or_default()
    }

    /// A process used the watched end.
    pub fn used_by(&mut self, pid: u32) {
        let of = if self.upstream {
            &mut self.client_pid
        } else {
            &mut self.server_pid
        };
        *of = Some(pid);
    }

    /// Whether bytes in this direction are responses.
    pub fn is_response(&self, direction: Direction) -> bool {
        (direction == Direction::Tx) != self.upstream
    }

    /// A session without a socket does not say who opened it: who speaks first does, when it is a request.
    pub fn settle_role(&mut self, data: &Data<'_>) {
        let of_session = self.tls.is_some_and(|tls| tls.session.is_some()) && self.local.is_none();
        let first = self.streams.iter().all(|stream| stream.seen == 0);
        if of_session && first && !self.upstream && data.direction == Direction::Tx && is_request(data.bytes)
        {
            self.upstream = true;
            self.client_pid = self.server_pid.take();
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

/// Whether bytes begin with a request line (RFC 9112 section 3) or the preface of HTTP/2 (RFC 9113 section 3.4).
fn is_request(bytes: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 8] = [
        b"POST ",
        b"GET ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"PRI * HTTP/2",
    ];
    BEGINNINGS.iter().any(|beginning| bytes.starts_with(beginning))
}
