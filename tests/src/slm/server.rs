//! A running `llama-server`.

use super::{installation, model};
use crate::client::get_status;
use crate::exchange::Party;
use crate::process::{Guard, free_port};
use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Loading a model of half a megabyte takes 0.1 s; a loaded machine may need longer.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server on a port of its own with a model file of its own; ends when dropped.
#[derive(Debug)]
pub struct LlamaServer {
    process: Guard,
    folder: TempDir,
    port: u16,
}

impl LlamaServer {
    /// Starts the server with extra arguments and waits until it answers `/health`.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::launch(&installation()?.server, arguments, |port| {
            get_status(port, "/health").ok() == Some(200)
        })
    }

    /// Starts any build of the server and waits until `healthy` holds for its port.
    pub(crate) fn launch(program: &Path, arguments: &[&str], healthy: impl Fn(u16) -> bool) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("audit-slm-").tempdir()?;
        let model = folder.path().join("tiny.gguf");
        model::write(&model)?;
        let port = free_port()?;
        let log = File::create(folder.path().join("server.log"))?;
        let mut command = Command::new(program);
        command
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--offline",
                "--model",
            ])
            .arg(&model)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut server = Self {
            process: Guard::spawn(&mut command)?,
            folder,
            port,
        };
        server.wait_until(healthy)?;
        Ok(server)
    }

    fn wait_until(&mut self, healthy: impl Fn(u16) -> bool) -> Result<()> {
        let port = self.port;
        let healthy = wait::until("llama-server answering /health", START_LIMIT, || {
            if let Some(status) = self.process.ended()? {
                bail!("llama-server ended with {status}");
            }
            Ok(healthy(port).then_some(()))
        });
        healthy.with_context(|| self.log())
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The weights that the server has open.
    pub fn model(&self) -> PathBuf {
        self.folder.path().join("tiny.gguf")
    }

    /// The executable as the kernel names it.
    pub fn exe(&self) -> Result<PathBuf> {
        Ok(std::fs::read_link(
            Path::new("/proc").join(self.pid().to_string()).join("exe"),
        )?)
    }

    /// What its records must say of it.
    pub fn party(&self) -> Result<Party> {
        Ok(Party {
            pids: vec![self.pid()],
            exe: self.exe()?,
            port: self.port(),
            model: Some(self.model()),
        })
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}
