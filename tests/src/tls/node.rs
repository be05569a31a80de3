//! The `https` server of Node.js.
//!
//! In: `tests/tls/server.mjs`. Out: an echo in one process. Never: a package of npm.

use super::served::Served;
use super::tools::{program, source};
use super::{Certificate, TlsServer, as_served};
use anyhow::Result;
use std::process::Command;

#[derive(Debug)]
pub struct Node {
    served: Served,
}

impl Node {
    /// Finds what [`Node::start`] needs.
    pub fn prepare() -> Result<()> {
        program("node", "nodejs").map(drop)
    }

    pub fn start(certificate: &Certificate) -> Result<Self> {
        let node = program("node", "nodejs")?;
        let served = Served::start(certificate, "/health", |_, port| {
            let mut command = Command::new(node);
            command
                .arg(source("server.mjs"))
                .arg(port.to_string())
                .args([certificate.key(), certificate.chain()]);
            Ok(command)
        })?;
        Ok(Self { served })
    }
}

impl TlsServer for Node {
    as_served!();

    fn pid(&self) -> u32 {
        self.served.pid()
    }
}
