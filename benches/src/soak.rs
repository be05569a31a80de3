//! Whether memory stays flat while the highest rate goes on and on, and the agent loses more than it records.
//!
//! In: how long. Out: Markdown with the agent's resident memory over that time; an error when it grew. Never: a full disk, since
//! the log keeps within a size.

use crate::cases::MockServer;
use crate::load;
use crate::mock::TEXT_BYTES;
use crate::usage::{self, Memory};
use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options, segments};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The log keeps within this, so that hours fit onto a disk; deleting is part of what is tried.
const CONFIG: &str = "[log]\nretention_mib = 256\nallow_short_retention = true\n";
const SAMPLE: Duration = Duration::from_secs(1);
/// What resident memory may grow by between the first fifth of the time and its end, in KiB.
const GROWTH_KIB: u64 = 4 * 1024;

/// The highest rate for so many seconds.
pub fn run(seconds: f64) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let server = MockServer::start(0, TEXT_BYTES)?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "none",
        config: CONFIG,
    })?;
    let load = load::Options {
        port: server.port,
        connections: 64,
        rate: None,
        stream: false,
        request_bytes: 1024,
        seconds,
    };
    let loading = std::thread::spawn(move || load::run(load));
    let mut samples = Vec::new();
    while !loading.is_finished() {
        std::thread::sleep(SAMPLE);
        samples.push(usage::memory(agent.pid())?);
    }
    let outcome = loading.join().ok().context("the load panicked")??;
    agent.terminate()?;
    let counters = last_counters(&agent.log())?;
    let of = |at: usize| samples.get(at).copied().context("too short a time");
    let (early, end) = (of(samples.len() / 5)?, of(samples.len().saturating_sub(1))?);
    let text = table(&outcome, &counters, early, end);
    let growth = end.now.saturating_sub(early.now);
    ensure!(growth <= GROWTH_KIB, "memory grew by {growth} KiB:\n{text}");
    Ok(text)
}

fn table(outcome: &load::Outcome, counters: &Value, early: Memory, end: Memory) -> String {
    let count = |name: &str| counters[name].as_u64().unwrap_or(0);
    let mib = |kib: u64| kib as f64 / 1024.0;
    format!(
        "| soak at saturation over 64 connections | |\n|---|--:|\n\
         | answers | {} ({:.0}/s) |\n| records | {} |\n| events declared lost | {} |\n\
         | resident memory after a fifth of the time, at its end, at most | {:.1}, {:.1}, {:.1} MiB |\n",
        outcome.answered,
        outcome.per_second,
        count("inferences"),
        count("lost_ring_full"),
        mib(early.now),
        mib(end.now),
        mib(end.peak),
    )
}

/// What the agent counted until it stopped.
fn last_counters(log: &Path) -> Result<Value> {
    let segment = segments(log)?.pop().context("a log")?;
    let text = std::fs::read_to_string(segment)?;
    let line = text.lines().next_back().context("a last record")?;
    let record: Value = serde_json::from_str(line)?;
    ensure!(
        record["record_type"] == "agent_stop",
        "the agent did not stop in order"
    );
    Ok(record["counters"].clone())
}
