//! `python -m llama_cpp.server`: TLS by Python's `ssl` in memory buffers, sockets by asyncio.
//!
//! In: arguments of that module. Out: a server in one process. Never: two answers at once, which the module does not do;
//! a request waits instead of ending the one before it.

use super::served::Served;
use super::{Certificate, TlsServer, as_served};
use crate::slm::{model, uvicorn};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

#[derive(Debug)]
pub struct Uvicorn {
    served: Served,
}

impl Uvicorn {
    /// Builds what [`Uvicorn::start`] needs.
    pub fn prepare() -> Result<()> {
        uvicorn().map(drop)
    }

    pub fn start(certificate: &Certificate, arguments: &[&str]) -> Result<Self> {
        let python = uvicorn()?;
        let served = Served::start(certificate, "/v1/models", |folder, port| {
            let model = folder.join("tiny.gguf");
            model::write(&model)?;
            let mut command = Command::new(python);
            command
                .args(["-m", "llama_cpp.server", "--host", "127.0.0.1", "--port"])
                .arg(port.to_string())
                .arg("--ssl_keyfile")
                .arg(certificate.key())
                .arg("--ssl_certfile")
                .arg(certificate.chain())
                .args(["--verbose", "false", "--interrupt_requests", "false", "--model"])
                .arg(model)
                .args(arguments);
            Ok(command)
        })?;
        Ok(Self { served })
    }
}

impl TlsServer for Uvicorn {
    as_served!();

    fn weights(&self) -> Option<PathBuf> {
        Some(self.served.folder().join("tiny.gguf"))
    }

    fn pid(&self) -> u32 {
        self.served.pid()
    }
}
