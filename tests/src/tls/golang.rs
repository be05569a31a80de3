//! A server on Go's own `crypto/tls`: no C library does the TLS, and goroutines move between threads.
//!
//! In: `tests/tls/server.go`. Out: an echo in one process, with its symbols. Never: a module that has to be fetched;
//! HTTP/2, which Go offers otherwise.

use super::served::Served;
use super::tools::{Recipe, cache, program};
use super::{Certificate, TlsServer, as_served};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub struct Golang {
    served: Served,
}

impl Golang {
    /// Builds what [`Golang::start`] needs.
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
    let mut command = Command::new(program("go", "golang-go")?);
    command
        .args(["build", "-o", "go-server", "server.go"])
        .env("GOCACHE", cache()?.join("go"))
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPROXY", "off")
        .env("GOTOOLCHAIN", "local");
    let recipe = Recipe {
        files: &["server.go"],
        product: "go-server",
    };
    recipe.follow(command)
}

impl TlsServer for Golang {
    as_served!();

    fn pid(&self) -> u32 {
        self.served.pid()
    }
}
