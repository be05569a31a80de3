//! What the pipeline asks of the edges, and what an operator chose for it.
//!
//! Only data: who carries an [`Output`] out is `run`, and what it found out comes back as a
//! [`crate::event::HostFact`].

use super::tls::SessionId;
use crate::content::Mode;
use crate::content::draft::Draft;
use crate::policy::filter::Filter;
use crate::record::Body;
use crate::record::hash::Hasher;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;

/// What the edges shall do.
#[derive(Debug)]
pub enum Output {
    /// Sign and store, with the wall-clock time it is about.
    Record {
        body: Box<Body>,
        unix_ns: u64,
    },
    /// What was asked and answered in the inference of the next record; only where it is to be stored.
    Content(Box<Draft>),
    Verdict {
        conn: ConnKey,
        verdict: Verdict,
    },
    Listener {
        port: u16,
        verdict: Verdict,
    },
    /// Whether the connections that a process opens itself are looked at.
    Upstream {
        pid: u32,
        follow: bool,
    },
    /// The kernel's state of the connection is not needed any more.
    Forget(ConnKey),
    /// Look the process up and feed a [`HostFact::Process`](crate::event::HostFact::Process).
    NeedProcess {
        pid: u32,
    },
    /// Look up which weights it has open and feed [`HostFact::Models`](crate::event::HostFact::Models).
    NeedModels {
        pid: u32,
    },
    /// Find the process at the other end and feed a [`HostFact::Peer`](crate::event::HostFact::Peer).
    NeedPeer {
        conn: ConnKey,
        local: std::net::SocketAddr,
        remote: std::net::SocketAddr,
    },
    /// Read the kernel's counters of the connection and feed a [`HostFact::ConnSync`](crate::event::HostFact::ConnSync).
    NeedSync(ConnKey),
    /// Look for TLS libraries in the process, see into them, and feed a [`HostFact::TlsLibraries`](crate::event::HostFact::TlsLibraries). `at_once`: what the
    /// process says next is lost otherwise; else it may be put off, since a program maps its libraries one by one.
    NeedTls {
        pid: u32,
        at_once: bool,
    },
    TlsVerdict {
        id: SessionId,
        verdict: Verdict,
    },
    /// The kernel's state of the session is not needed any more.
    ForgetTls {
        id: SessionId,
    },
    /// Read the kernel's counters of the session and feed a [`HostFact::TlsSync`](crate::event::HostFact::TlsSync).
    NeedTlsSync {
        id: SessionId,
    },
}

/// What an operator chose.
#[derive(Debug)]
pub struct Options {
    /// What is kept of prompts and completions.
    pub content: Mode,
    pub filter: Filter,
    pub hasher: Hasher,
    pub heartbeat_ns: u64,
    /// The log's public key, for its first record.
    pub verifier_key: String,
}

impl Options {
    /// Whole seconds between heartbeats, as records say it; what is shorter counts as one.
    pub fn heartbeat_s(&self) -> u64 {
        self.heartbeat_ns.div_ceil(1_000_000_000).max(1)
    }
}
