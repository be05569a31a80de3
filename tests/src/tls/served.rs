//! A server process of its own folder, log and port.
//!
//! In: how to start it. Out: a process that answers over TLS. Never: a server that outlives its owner.

use super::Certificate;
use crate::client::https_status;
use crate::process::{Guard, free_port};
use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A Python server imports for seconds, and longer on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// What every server has.
#[derive(Debug)]
pub(super) struct Served {
    process: Guard,
    folder: TempDir,
    port: u16,
    certificate: Certificate,
}

impl Served {
    /// Starts what `command` makes of a folder and a port, and waits until `health` is answered with 200.
    pub fn start(
        certificate: &Certificate,
        health: &str,
        command: impl FnOnce(&Path, u16) -> Result<Command>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("audit-tls-server-").tempdir()?;
        let port = free_port()?;
        let log = File::create(folder.path().join("server.log"))?;
        let mut command = command(folder.path(), port)?;
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut served = Self {
            process: Guard::spawn(&mut command)?,
            folder,
            port,
            certificate: certificate.clone(),
        };
        served.wait_for(health)?;
        Ok(served)
    }

    fn wait_for(&mut self, health: &str) -> Result<()> {
        let url = format!("https://localhost:{}{health}", self.port);
        let (ca, port) = (self.certificate.ca(), self.port);
        let healthy = wait::until(&format!("an answer of {url}"), START_LIMIT, || {
            if let Some(status) = self.process.ended()? {
                bail!("the server ended with {status}");
            }
            let healthy = listens(port) && https_status(&ca, &url).ok() == Some(200);
            Ok(healthy.then_some(()))
        });
        healthy.with_context(|| format!("the server's log:\n{}", self.log()))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The private folder, which is the server's current one.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// An orderly end, for a server that has processes of its own to end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.terminate()
    }
}

/// Whether somebody takes connections: far cheaper to ask than curl.
fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
