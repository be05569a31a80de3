//! What the agent costs processes that it does not watch.

use crate::report::median;
use crate::syscalls::{Channel, Kind};
use anyhow::Result;
use audit_tests::agent::{Agent, Options};
use audit_tests::command::binary;
use std::process::{Command, Stdio};

/// Nanoseconds a system call of an unwatched process.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub alone: f64,
    /// What empty programs on the same tracepoints add to the same round's; None when the agent cannot show that.
    pub floor: Option<f64>,
    /// What the agent adds.
    pub agent: f64,
}

/// Alternates between nobody, the floor and the agent, on the same two descriptors. Medians over rounds of the differences within
/// one: the machine's own speed changes from one round to the next.
pub fn cost(kind: Kind, pairs: u32, rounds: usize) -> Result<Cost> {
    let has_floor = floor_available()?;
    let mut channel = kind.open()?;
    let (mut alone, mut floor, mut agent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let before = channel.cost(pairs)?;
        if has_floor {
            floor.push(while_floor(&mut channel, pairs)? - before);
        }
        agent.push(while_agent(&mut channel, pairs)? - before);
        alone.push(before);
    }
    Ok(Cost {
        alone: median(alone).unwrap_or(f64::NAN),
        floor: median(floor),
        agent: median(agent).unwrap_or(f64::NAN),
    })
}

fn while_agent(channel: &mut Channel, pairs: u32) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "none",
        config: "",
    })?;
    let cost = channel.cost(pairs)?;
    agent.terminate()?;
    Ok(cost)
}

fn floor_available() -> Result<bool> {
    let mut help = Command::new(binary()?);
    help.args(["bench-floor", "--help"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(help.status()?.success())
}

/// `audit-agent bench-floor` attaches programs that do nothing, says that it is ready as `run` does, and
/// ends on SIGTERM.
fn while_floor(channel: &mut Channel, pairs: u32) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let mut floor = Agent::start_command(Command::new(binary()?).arg("bench-floor"), dir.path())?;
    let cost = channel.cost(pairs)?;
    floor.terminate()?;
    Ok(cost)
}

impl Cost {
    /// One line of the table.
    pub fn line(&self, kind: Kind) -> String {
        let Self { alone, floor, agent } = self;
        let floor_cell = floor.map_or("not measured".into(), |floor| format!("+{floor:.0} ns"));
        let times = floor.map_or("".into(), |floor| format!("{:.2}", agent / floor));
        format!(
            "| {} | {alone:.0} ns | {floor_cell} | +{agent:.0} ns | {times} |\n",
            kind.name()
        )
    }
}
