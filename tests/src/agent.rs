//! A running `audit-agent`.

use crate::command::binary;
use crate::process::Guard;
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Loading and attaching the programs takes under a second; a machine that is also compiling takes longer.
const READY_LIMIT: Duration = Duration::from_secs(60);
const READY: &str = "audit-agent ready";

type Lines = Arc<Mutex<Vec<String>>>;

/// How to start one.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// `--dir`
    pub dir: &'a Path,
    /// `--output`
    pub output: &'a str,
    /// The text of the configuration file; empty for none.
    pub config: &'a str,
}

/// An agent that watches this machine; killed when dropped, ended in order by [`Agent::stop`].
#[derive(Debug)]
pub struct Agent {
    process: Guard,
    dir: PathBuf,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// Collects lines until the other end closes; a line that is not UTF-8 ends it too and is then missed.
fn collect(from: impl Read + Send + 'static, to: &Lines) -> JoinHandle<()> {
    let to = Arc::clone(to);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(mut lines) = to.lock() {
                lines.push(line);
            }
        }
    })
}

fn copy(lines: &Lines) -> Vec<String> {
    lines.lock().map(|lines| lines.clone()).unwrap_or_default()
}

impl Agent {
    /// Starts the agent and waits until it says that it is ready.
    pub fn start(options: Options) -> Result<Self> {
        let Options { dir, output, config } = options;
        let mut command = Command::new(binary()?);
        command.args(["run", "--output", output, "--dir"]).arg(dir);
        if !config.is_empty() {
            let path = dir.join("test-config.toml");
            std::fs::write(&path, config)?;
            command.arg("--config").arg(path);
        }
        Self::start_command(&mut command, dir)
    }

    /// Starts any command that becomes ready, and ends, the way `run` does.
    pub fn start_command(command: &mut Command, dir: &Path) -> Result<Self> {
        let mut process = Guard::spawn(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        )?;
        let (stdout, stderr) = (Lines::default(), Lines::default());
        let child = process.child_mut();
        let readers = vec![
            collect(child.stdout.take().context("the agent has a stdout")?, &stdout),
            collect(child.stderr.take().context("the agent has a stderr")?, &stderr),
        ];
        let mut agent = Self {
            process,
            dir: dir.into(),
            stdout,
            stderr,
            readers,
        };
        agent.wait_until_ready()?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let ready = wait::until("the agent becoming ready", READY_LIMIT, || {
            let ready = copy(&self.stderr).iter().any(|line| line.contains(READY));
            if !ready && let Some(status) = self.process.ended()? {
                bail!("the agent ended with {status}");
            }
            Ok(ready.then_some(()))
        });
        ready.with_context(|| format!("the agent's stderr:\n{}", self.stderr()))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn stderr(&self) -> String {
        copy(&self.stderr).join("\n")
    }

    /// The directory of the signed log.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The public key of the log.
    pub fn public_key(&self) -> PathBuf {
        self.dir.join("keys/log.pub")
    }

    /// The records that came out of stdout so far.
    pub fn records(&self) -> Result<Vec<Value>> {
        copy(&self.stdout).iter().map(|line| parse(line)).collect()
    }

    /// Waits until the records on stdout satisfy `enough`, and gives them.
    pub fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        enough: impl Fn(&[Value]) -> bool,
    ) -> Result<Vec<Value>> {
        let found = wait::until(what, limit, || {
            let records = self.records()?;
            if enough(&records) {
                return Ok(Some(records));
            }
            match self.process.ended()? {
                Some(status) => bail!("the agent ended with {status}"),
                None => Ok(None),
            }
        });
        found.with_context(|| {
            format!(
                "stdout:\n{}\nstderr:\n{}",
                copy(&self.stdout).join("\n"),
                self.stderr()
            )
        })
    }

    /// Ends the agent with SIGTERM, which must succeed.
    pub fn terminate(&mut self) -> Result<()> {
        let status = self.process.terminate()?;
        for reader in self.readers.drain(..) {
            // A reader that panicked has lost lines, which the comparison of stdout and log would show.
            let _ = reader.join();
        }
        if !status.success() {
            bail!("the agent ended with {status}; its stderr:\n{}", self.stderr());
        }
        Ok(())
    }

    /// Waits until the agent has ended by itself.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait::until("the agent ending by itself", limit, || self.process.ended())
    }

    /// Ends the agent and gives every record of its log.
    pub fn stop(&mut self) -> Result<Vec<Value>> {
        self.terminate()?;
        records(&self.log())
    }
}

/// Every record of the log in `dir`, from all of its segments.
pub fn records(dir: &Path) -> Result<Vec<Value>> {
    let mut records = Vec::new();
    for path in segments(dir)? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {path:?}"))?;
        for line in text.lines() {
            records.push(parse(line)?);
        }
    }
    Ok(records)
}

/// The files of lines of the log in `dir`, in order.
pub fn segments(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir.join("records")).with_context(|| format!("reading {dir:?}"))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn parse(line: &str) -> Result<Value> {
    serde_json::from_str(line).with_context(|| format!("the agent wrote a line that is not JSON: {line:?}"))
}
