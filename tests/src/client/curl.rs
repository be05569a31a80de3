//! curl.

use super::Caller;
use crate::process::Guard;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Longest time that one request may take, in seconds.
const MAX_TIME: &str = "120";
/// What curl writes after the body: a line that no JSON or SSE body has.
const TRAILER: &str = "\n#curl %{http_code} %{local_port}";

/// What one curl saw.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
    pub caller: Caller,
    /// The local port, which is the peer port that the server sees.
    pub port: u16,
}

impl Answer {
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON: {}", self.body))
    }

    /// The JSON values of the `data:` lines, `[DONE]` left out.
    pub fn events(&self) -> Result<Vec<Value>> {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: "));
        let values = data.filter(|data| *data != "[DONE]").map(serde_json::from_str);
        Ok(values.collect::<Result<_, _>>()?)
    }
}

fn command(url: &str, ca: Option<&Path>, arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    if let Some(ca) = ca {
        command.arg("--cacert").arg(ca);
    }
    command.args(["--silent", "--show-error", "--no-buffer", "--max-time", MAX_TIME]);
    command.args([
        "--header",
        "Content-Type: application/json",
        "--data-binary",
        "@-",
    ]);
    command
        .args(arguments)
        .arg(url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Starts curl and hands it the body. The executable is read while the process surely lives: it waits
/// for the end of its stdin.
fn start(mut command: Command, body: &str) -> Result<(Guard, Caller)> {
    let mut process = Guard::spawn(&mut command)?;
    let mut stdin = process.child_mut().stdin.take().context("curl has a stdin")?;
    let exe = crate::wait::until("curl being executed", super::HEALTH_LIMIT, || {
        let exe = std::fs::read_link(format!("/proc/{}/exe", process.pid()))?;
        Ok(exe.ends_with("curl").then_some(exe))
    })?;
    let caller = Caller {
        pid: process.pid(),
        exe,
    };
    stdin.write_all(body.as_bytes())?;
    Ok((process, caller))
}

/// POSTs `body` and reads the whole answer.
pub fn curl(url: &str, body: &str, arguments: &[&str]) -> Result<Answer> {
    answer(command(url, None, arguments), body)
}

/// The same over TLS, with the authority that the server's certificate must have.
pub fn curl_tls(url: &str, ca: &Path, body: &str, arguments: &[&str]) -> Result<Answer> {
    answer(command(url, Some(ca), arguments), body)
}

fn answer(mut command: Command, body: &str) -> Result<Answer> {
    command.args(["--write-out", TRAILER]);
    let (mut process, caller) = start(command, body)?;
    let stdout = process.child_mut().stdout.take().context("curl has a stdout")?;
    let text = std::io::read_to_string(stdout)?;
    let (body, trailer) = text
        .rsplit_once("\n#curl ")
        .with_context(|| format!("curl gave {text:?}"))?;
    let (status, port) = trailer
        .split_once(' ')
        .context("curl's trailer has two numbers")?;
    Ok(Answer {
        status: status.parse()?,
        body: body.into(),
        caller,
        port: port.parse()?,
    })
}

/// POSTs `body` and kills curl after it has printed `events` lines of `data:`; gives these.
pub fn aborted_stream(url: &str, body: &str, events: usize) -> Result<(Vec<Value>, Caller)> {
    abort(command(url, None, &[]), body, events)
}

/// The same over TLS.
pub fn aborted_stream_tls(url: &str, ca: &Path, body: &str, events: usize) -> Result<(Vec<Value>, Caller)> {
    abort(command(url, Some(ca), &[]), body, events)
}

fn abort(command: Command, body: &str, events: usize) -> Result<(Vec<Value>, Caller)> {
    let (mut process, caller) = start(command, body)?;
    let stdout = process.child_mut().stdout.take().context("curl has a stdout")?;
    let mut seen = Vec::new();
    for line in BufReader::new(stdout).lines() {
        if let Some(data) = line?.strip_prefix("data: ") {
            seen.push(serde_json::from_str(data).with_context(|| format!("the stream ended early: {data}"))?);
        }
        if seen.len() == events {
            // Dropping the guard sends SIGKILL: no orderly close by the client.
            drop(process);
            return Ok((seen, caller));
        }
    }
    bail!("the stream had only {} events", seen.len());
}

/// The status of a GET over TLS, for polling.
pub fn https_status(ca: &Path, url: &str) -> Result<u16> {
    let limit = super::HEALTH_LIMIT.as_secs().to_string();
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--output",
            "/dev/null",
            "--max-time",
            &limit,
        ])
        .args(["--write-out", "%{http_code}", "--cacert"])
        .arg(ca)
        .arg(url)
        .output()?;
    if !output.status.success() {
        bail!("curl failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.parse()?)
}
