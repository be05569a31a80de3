//! llama-server with its own TLS (cpp-httplib on OpenSSL).
//!
//! In: arguments as for [`LlamaServer::start`]. Out: the same server on https. Never: a build without TLS.

use super::{Certificate, TlsServer};
use crate::client::https_status;
use crate::slm::installation;
use crate::slm::server::LlamaServer;
use anyhow::{Context, Result};
use std::path::PathBuf;

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

    pub fn start(certificate: &Certificate, arguments: &[&str]) -> Result<Self> {
        let (key, chain) = (certificate.key(), certificate.chain());
        let text = |path: &PathBuf| path.to_str().map(String::from).context("a path in UTF-8");
        let (key, chain) = (text(&key)?, text(&chain)?);
        let mut all = vec!["--ssl-key-file", &key, "--ssl-cert-file", &chain];
        all.extend(arguments);
        let ca = certificate.ca();
        let server = LlamaServer::launch(&installation()?.server, &all, |port| {
            https_status(&ca, &format!("https://localhost:{port}/health")).ok() == Some(200)
        })?;
        Ok(Self {
            server,
            certificate: certificate.clone(),
        })
    }

    /// The weights that the server has open.
    pub fn model(&self) -> PathBuf {
        self.server.model()
    }
}

impl TlsServer for LlamaTls {
    fn port(&self) -> u16 {
        self.server.port()
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
