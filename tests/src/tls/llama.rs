//! llama-server with its own TLS (cpp-httplib on OpenSSL).
//!
//! In: arguments as for [`LlamaServer::start`]. Out: the same server on https. Never: a build without TLS.

use super::{Certificate, TlsServer};
use crate::client::https_status;
use crate::slm::server::LlamaServer;
use crate::slm::{installation, static_server};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct LlamaTls {
    server: LlamaServer,
    certificate: Certificate,
}

impl LlamaTls {
    /// Builds what [`LlamaTls::start`] needs.
    pub fn prepare() -> Result<()> {
        installation().map(drop)
    }

    /// Builds what [`LlamaTls::start_static`] needs.
    pub fn prepare_static() -> Result<()> {
        static_server().map(drop)
    }

    /// Starts the build that has `libssl.so` mapped.
    pub fn start(certificate: &Certificate, arguments: &[&str]) -> Result<Self> {
        Self::launch(&installation()?.server, certificate, arguments)
    }

    /// Starts the build that has OpenSSL inside its executable.
    pub fn start_static(certificate: &Certificate, arguments: &[&str]) -> Result<Self> {
        Self::launch(&static_server()?, certificate, arguments)
    }

    fn launch(program: &Path, certificate: &Certificate, arguments: &[&str]) -> Result<Self> {
        let (key, chain) = (certificate.key(), certificate.chain());
        let mut all = vec!["--ssl-key-file", text(&key)?, "--ssl-cert-file", text(&chain)?];
        all.extend(arguments);
        let ca = certificate.ca();
        let server = LlamaServer::launch(program, &all, |port| {
            https_status(&ca, &format!("https://localhost:{port}/health")).ok() == Some(200)
        })?;
        Ok(Self {
            server,
            certificate: certificate.clone(),
        })
    }
}

impl TlsServer for LlamaTls {
    fn port(&self) -> u16 {
        self.server.port()
    }

    fn weights(&self) -> Option<PathBuf> {
        Some(self.server.model())
    }

    fn pid(&self) -> u32 {
        self.server.pid()
    }

    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn log(&self) -> String {
        self.server.log()
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
