//! A client that holds one connection open until it is told to use it.

use super::{Caller, script};
use crate::process::Guard;
use crate::slm::installation;
use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

/// One keep-alive connection; closed when dropped.
#[derive(Debug)]
pub struct HeldConnection {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _process: Guard,
}

fn command(port: u16, path: &str) -> Result<Command> {
    let mut command = Command::new(&installation()?.python);
    command
        .arg(script("held_connection.py"))
        .args(["127.0.0.1", &port.to_string(), path]);
    Ok(command)
}

impl HeldConnection {
    /// Connects to `path` of the server on `port`.
    pub fn open(port: u16, path: &str) -> Result<Self> {
        Self::start(command(port, path)?)
    }

    /// The same over TLS, with the authority that the server's certificate must have.
    pub fn open_tls(port: u16, path: &str, ca: &Path) -> Result<Self> {
        let mut command = command(port, path)?;
        command.arg(ca);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Guard::spawn(&mut command)?;
        let stdin = process
            .child_mut()
            .stdin
            .take()
            .context("the client has a stdin")?;
        let stdout = process
            .child_mut()
            .stdout
            .take()
            .context("the client has a stdout")?;
        let mut held = Self {
            stdin,
            stdout: BufReader::new(stdout),
            _process: process,
        };
        held.line()?;
        Ok(held)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Posts a body on the held connection: status, answer and caller.
    pub fn post(&mut self, body: &Value) -> Result<(u16, Value, Caller)> {
        writeln!(self.stdin, "{body}")?;
        let line = self.line()?;
        let seen: Value = serde_json::from_str(&line).with_context(|| format!("the client said {line:?}"))?;
        let status = seen["status"].as_u64().context("no status")?;
        let answer = serde_json::from_str(seen["text"].as_str().context("no text")?)?;
        Ok((u16::try_from(status)?, answer, Caller::from_json(&seen)?))
    }
}
