//! What is known of one connection.

use super::exchange::Exchanges;
use crate::flow::GapCause;
use crate::flow::stream::Stream;
use crate::http;
use audit_common::abi::ConnKey;
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
}

impl Connection {
    pub fn client_name(&self) -> Option<String> {
        self.remote.map(|address| address.to_string())
    }

    pub fn server_name(&self) -> Option<String> {
        self.local
            .map(|address| address.to_string())
            .or_else(|| self.unix_path.clone())
    }
}
