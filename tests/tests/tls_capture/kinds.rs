//! The TLS servers, and what their records must say of TLS.

use anyhow::{Result, ensure};
use audit_tests::slm::server::LlamaServer;
use audit_tests::tls::gnutls::Gnutls;
use audit_tests::tls::golang::Golang;
use audit_tests::tls::llama::LlamaTls;
use audit_tests::tls::nginx::Nginx;
use audit_tests::tls::node::Node;
use audit_tests::tls::uvicorn::Uvicorn;
use audit_tests::tls::{Certificate, TlsServer};
use serde_json::Value;

/// A thread for each connection of a crowd.
const LLAMA: &[&str] = &["--parallel", "4", "--ctx-size", "8192", "--threads-http", "64"];

/// One way in which a server comes by TLS.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub prepare: fn() -> Result<()>,
    pub start: fn(&Certificate) -> Result<Box<dyn TlsServer + Sync>>,
    /// `capture.tls.library`
    pub library: &'static str,
    /// `capture.tls.pairing`: the library moves the ciphertext itself, or its caller does.
    pub pairing: &'static str,
    /// `capture.tls.version` is known: programs with a library inside may lack its name and release.
    pub versioned: bool,
    /// Streams can be so long that a client is gone before their end.
    pub long_streams: bool,
    /// A thread waits inside of the library's read function. One that waits there when the agent starts gives a request
    /// whose bytes no probe sees: the answer to it is declared as bytes without a place.
    pub waits_inside: bool,
}

impl Kind {
    /// What a record of this server says of TLS is right.
    pub fn check(&self, record: &Value) -> Result<()> {
        let tls = &record["capture"]["tls"];
        let library = tls["library"].as_str().unwrap_or_default();
        ensure!(library.split(',').any(|name| name == self.library), "{tls}");
        let version = tls["version"].as_str().unwrap_or_default();
        let known = version.starts_with(|first: char| first.is_ascii_digit());
        ensure!(known == self.versioned, "{tls}");
        ensure!(tls["pairing"] == self.pairing, "{tls}");
        Ok(())
    }
}

pub const LLAMA_SHARED: Kind = Kind {
    name: "llama-server, shared OpenSSL",
    prepare: LlamaTls::prepare,
    start: |certificate| Ok(Box::new(LlamaTls::start(certificate, LLAMA)?)),
    library: "openssl",
    pairing: "call",
    versioned: true,
    long_streams: true,
    waits_inside: false,
};

pub const LLAMA_STATIC: Kind = Kind {
    name: "llama-server, OpenSSL inside",
    prepare: LlamaTls::prepare_static,
    start: |certificate| Ok(Box::new(LlamaTls::start_static(certificate, LLAMA)?)),
    versioned: false,
    ..LLAMA_SHARED
};

pub const UVICORN: Kind = Kind {
    name: "uvicorn, memory BIO",
    prepare: Uvicorn::prepare,
    start: |certificate| Ok(Box::new(Uvicorn::start(certificate, &[])?)),
    library: "openssl",
    pairing: "thread",
    versioned: true,
    long_streams: true,
    waits_inside: false,
};

pub const NGINX: Kind = Kind {
    name: "nginx, two workers",
    prepare: Nginx::prepare,
    start: |certificate| {
        let upstream = LlamaServer::start(LLAMA)?;
        Ok(Box::new(Nginx::start(certificate, upstream, 2)?))
    },
    library: "openssl",
    pairing: "call",
    versioned: true,
    long_streams: true,
    waits_inside: false,
};

pub const NODE: Kind = Kind {
    name: "node, memory BIO",
    prepare: Node::prepare,
    start: |certificate| Ok(Box::new(Node::start(certificate)?)),
    library: "openssl",
    pairing: "thread",
    versioned: true,
    long_streams: false,
    waits_inside: false,
};

pub const GNUTLS: Kind = Kind {
    name: "GnuTLS",
    prepare: Gnutls::prepare,
    start: |certificate| Ok(Box::new(Gnutls::start(certificate)?)),
    library: "gnutls",
    pairing: "call",
    versioned: true,
    long_streams: false,
    waits_inside: true,
};

pub const GO: Kind = Kind {
    name: "Go crypto/tls",
    prepare: Golang::prepare,
    start: |certificate| Ok(Box::new(Golang::start(certificate)?)),
    library: "go",
    pairing: "call",
    versioned: true,
    long_streams: false,
    waits_inside: true,
};
