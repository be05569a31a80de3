//! How fast the pipeline turns captured events into signed records, without a kernel in the way.

use crate::cases::MockServer;
use crate::load;
use anyhow::{Context, Result, ensure};
use audit_tests::agent::Agent;
use audit_tests::command::binary;
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// What `audit-agent replay --repeat N --output none` says on its last line of stdout.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Summary {
    pub records: u64,
    pub events: u64,
    pub body_bytes: u64,
    pub elapsed_ns: u64,
}

impl Summary {
    /// From everything that the command wrote to stdout.
    pub fn parse(stdout: &str) -> Result<Self> {
        let line = stdout.lines().next_back().context("replay said nothing")?;
        let summary: Self = serde_json::from_str(line).with_context(|| format!("replay said {line:?}"))?;
        ensure!(summary.elapsed_ns > 0, "replay took no time");
        Ok(summary)
    }

    pub fn records_per_second(&self) -> f64 {
        self.records as f64 * 1e9 / self.elapsed_ns as f64
    }

    pub fn megabytes_per_second(&self) -> f64 {
        self.body_bytes as f64 * 1e3 / self.elapsed_ns as f64
    }
}

/// Traffic to capture and replay.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    pub name: &'static str,
    body_bytes: usize,
    rate: u32,
}

pub const SCENES: [Scene; 2] = [
    Scene {
        name: "replay, 1 KiB bodies",
        body_bytes: 1024,
        rate: 1_000,
    },
    Scene {
        name: "replay, 256 KiB bodies",
        body_bytes: 256 * 1024,
        rate: 50,
    },
];

impl Scene {
    /// Captures `seconds` of traffic, then replays it `repeat` times.
    pub fn run(&self, seconds: f64, repeat: u32) -> Result<Summary> {
        let dir = tempfile::tempdir()?;
        let capture = dir.path().join("traffic.acap");
        self.record(&capture, dir.path(), seconds)?;
        let mut command = Command::new(binary()?);
        command
            .arg("replay")
            .arg(&capture)
            .arg("--dir")
            .arg(dir.path().join("state"));
        let output = command
            .args(["--output", "none", "--repeat", &repeat.to_string()])
            .output()?;
        ensure!(
            output.status.success(),
            "replay failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Summary::parse(&String::from_utf8(output.stdout)?)
    }

    fn record(&self, capture: &Path, dir: &Path, seconds: f64) -> Result<()> {
        let server = MockServer::start(0, self.body_bytes)?;
        let mut command = Command::new(binary()?);
        let mut recorder = Agent::start_command(command.arg("record").arg("--out").arg(capture), dir)?;
        let Self {
            body_bytes: request_bytes,
            rate,
            ..
        } = *self;
        let rate = Some(rate);
        load::run(load::Options {
            port: server.port,
            connections: 8,
            rate,
            stream: false,
            request_bytes,
            seconds,
        })?;
        recorder.terminate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_the_last_line() -> Result<()> {
        let said = "something\n{\"records\":20000,\"events\":80000,\"body_bytes\":40960000,\"elapsed_ns\":1000000000}\n";
        let summary = Summary::parse(said)?;
        assert_eq!(summary.records_per_second(), 20_000.0);
        assert_eq!(summary.megabytes_per_second(), 40.96);
        Ok(())
    }
}
