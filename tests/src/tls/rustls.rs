//! A server on rustls: axum with axum-server, no C library does the TLS.
//!
//! In: the package `tests/tls/rustls-server` with its own lock file. Out: an echo in one process, optimised, with its
//! symbols. Never: a dependency of the project itself.

use super::served::Served;
use super::tools::{Recipe, program};
use super::{Certificate, TlsServer, as_served};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub struct Rustls {
    served: Served,
}

impl Rustls {
    /// Builds what [`Rustls::start`] needs: minutes, once.
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
    let cargo =
        std::env::var_os("CARGO").map_or_else(|| program("cargo", "cargo"), |path| Ok(path.into()))?;
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--target-dir",
            "target",
        ])
        .args(["--manifest-path", "rustls-server/Cargo.toml"]);
    // What the tests are built with is not for the server.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    let recipe = Recipe {
        files: &[
            "rustls-server/Cargo.toml",
            "rustls-server/Cargo.lock",
            "rustls-server/src/main.rs",
        ],
        product: "target/release/rustls-server",
    };
    recipe.follow(command)
}

impl TlsServer for Rustls {
    as_served!();

    fn pid(&self) -> u32 {
        self.served.pid()
    }
}
