//! Who watches the server during a run, and what that cost and gave.

use crate::usage::{self, Memory};
use anyhow::{Context, Result};
use audit_tests::agent::{Agent, Options, segments};
use audit_tests::process::Guard;
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long the agent may take to work off what a run left behind.
const CATCH_UP: Duration = Duration::from_secs(60);
/// tcpdump says this on stderr when it captures.
const TCPDUMP_LISTENS: &str = "listening on";
const TCPDUMP_LIMIT: Duration = Duration::from_secs(10);

/// To the example recipient of the age specification.
const STORING: &str = "[content]\nmode = \"full\"\nrecipients = [\"age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\"]\n";

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Arm {
    Alone,
    Agent,
    /// The agent, with prompts and completions stored in full.
    Storing,
    /// A packet capture into a file: what others pay for bytes alone.
    Tcpdump,
}

impl Arm {
    /// The arms of this machine, in the order of a round.
    pub fn available() -> Vec<Self> {
        let mut tcpdump = Command::new("tcpdump");
        tcpdump
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let has_tcpdump = tcpdump.status().is_ok_and(|status| status.success());
        let mut arms = vec![Self::Alone, Self::Agent, Self::Storing];
        arms.extend(has_tcpdump.then_some(Self::Tcpdump));
        arms
    }
}

/// What the agent did in a run.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub cpu: Duration,
    pub memory: Memory,
    /// Inference records whose capture is complete.
    pub recorded: u64,
    /// Inference records that say that something is missing.
    pub partial: u64,
    /// Events that gap records declare as lost.
    pub lost: u64,
}

/// A watcher at work.
#[derive(Debug)]
pub enum Watcher {
    Nobody,
    Agent {
        agent: Agent,
        cpu_before: Duration,
        dir: TempDir,
    },
    Tcpdump {
        _process: Guard,
        _dir: TempDir,
    },
}

impl Watcher {
    pub fn start(arm: Arm, port: u16) -> Result<Self> {
        match arm {
            Arm::Alone => Ok(Self::Nobody),
            Arm::Agent => agent(""),
            Arm::Storing => agent(STORING),
            Arm::Tcpdump => tcpdump(port),
        }
    }

    /// Ends the watcher after it has caught up.
    pub fn finish(self) -> Result<Option<Seen>> {
        let Self::Agent {
            mut agent,
            cpu_before,
            dir: _dir,
        } = self
        else {
            return Ok(None);
        };
        usage::wait_until_idle(agent.pid(), CATCH_UP)?;
        let cpu = usage::cpu(agent.pid())?.saturating_sub(cpu_before);
        let memory = usage::memory(agent.pid())?;
        agent.terminate()?;
        let (recorded, partial, lost) = count(&agent.log())?;
        Ok(Some(Seen {
            cpu,
            memory,
            recorded,
            partial,
            lost,
        }))
    }
}

fn agent(config: &str) -> Result<Watcher> {
    let dir = tempfile::tempdir()?;
    let agent = Agent::start(Options {
        dir: dir.path(),
        output: "none",
        config,
    })?;
    Ok(Watcher::Agent {
        cpu_before: usage::cpu(agent.pid())?,
        agent,
        dir,
    })
}

fn tcpdump(port: u16) -> Result<Watcher> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("stderr");
    let mut command = Command::new("tcpdump");
    command
        .args(["-i", "lo", "-n", "-s", "0", "-Z", "root", "-w"])
        .arg(dir.path().join("capture.pcap"));
    command
        .args(["tcp", "port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let process = Guard::spawn(&mut command)?;
    audit_tests::wait::until("tcpdump listening", TCPDUMP_LIMIT, || {
        Ok(std::fs::read_to_string(&log)?
            .contains(TCPDUMP_LISTENS)
            .then_some(()))
    })
    .inspect_err(|_| drop(process.signal(Signal::SIGTERM)))?;
    Ok(Watcher::Tcpdump {
        _process: process,
        _dir: dir,
    })
}

/// The members of a record that count here.
#[derive(Deserialize)]
struct Line {
    record_type: String,
    capture: Option<Capture>,
    #[serde(default)]
    lost: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Capture {
    state: String,
}

/// Whole and partial inference records, and declared losses, of a log.
fn count(log: &Path) -> Result<(u64, u64, u64)> {
    let (mut recorded, mut partial, mut lost) = (0, 0, 0);
    for segment in segments(log)? {
        let file = File::open(&segment).with_context(|| format!("opening {segment:?}"))?;
        for line in BufReader::new(file).lines() {
            let line: Line = serde_json::from_str(&line?)?;
            match (line.record_type.as_str(), line.capture) {
                ("inference", Some(capture)) if capture.state == "complete" => recorded += 1,
                ("inference", _) => partial += 1,
                ("gap", _) => lost += line.lost.values().sum::<u64>(),
                _ => {}
            }
        }
    }
    Ok((recorded, partial, lost))
}
