//! A server on GnuTLS.
//!
//! In: `tests/tls/server.c`, a C compiler, the library's headers. Out: an echo in one process, a thread for each
//! connection, `libgnutls.so` mapped. Never: OpenSSL beside it.

use super::served::Served;
use super::tools::{Recipe, program};
use super::{Certificate, TlsServer, as_served};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub struct Gnutls {
    served: Served,
}

impl Gnutls {
    /// Builds what [`Gnutls::start`] needs.
    pub fn prepare() -> Result<()> {
        build().map(drop)
    }

    pub fn start(certificate: &Certificate) -> Result<Self> {
        let server = build()?;
        let served = Served::start(certificate, "/health", |_, port| {
            let mut command = Command::new(server);
            command
                .arg(port.to_string())
                .args([certificate.key(), certificate.chain()]);
            Ok(command)
        })?;
        Ok(Self { served })
    }
}

fn build() -> Result<PathBuf> {
    let mut command = Command::new(program("cc", "gcc")?);
    command.args(["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g"]).args([
        "-o",
        "gnutls-server",
        "server.c",
        "-lgnutls",
        "-lpthread",
    ]);
    let recipe = Recipe {
        files: &["server.c"],
        product: "gnutls-server",
    };
    recipe
        .follow(command)
        .context("it takes the package libgnutls28-dev")
}

impl TlsServer for Gnutls {
    as_served!();

    fn pid(&self) -> u32 {
        self.served.pid()
    }
}
