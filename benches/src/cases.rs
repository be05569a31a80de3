//! What is compared: kinds of load on the mock server, each with and without somebody watching.

use crate::arm::{Arm, Seen, Watcher};
use crate::load::{self, Outcome};
use crate::mock;
use anyhow::{Context, Result};
use audit_tests::process::{Guard, free_port};
use audit_tests::wait;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(10);

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub rate: Option<u32>,
    pub stream: bool,
    pub work_us: u64,
    pub connections: usize,
}

const PLAIN: Case = Case {
    name: "",
    rate: None,
    stream: false,
    work_us: 0,
    connections: 8,
};

/// The loads of the design's bars.
pub const CASES: [Case; 7] = [
    Case {
        name: "saturation, 1 KiB JSON",
        ..PLAIN
    },
    Case {
        name: "saturation, streams of 64 chunks",
        stream: true,
        ..PLAIN
    },
    Case {
        name: "1,000 req/s",
        rate: Some(1_000),
        ..PLAIN
    },
    Case {
        name: "10,000 req/s",
        rate: Some(10_000),
        ..PLAIN
    },
    Case {
        name: "1,000 streams/s of 64 chunks",
        rate: Some(1_000),
        stream: true,
        ..PLAIN
    },
    Case {
        name: "saturation, 1 ms of work a request",
        work_us: 1_000,
        ..PLAIN
    },
    Case {
        name: "1,000 req/s over 1,000 connections",
        rate: Some(1_000),
        connections: 1_000,
        ..PLAIN
    },
];

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub seconds: f64,
    pub rounds: usize,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub outcome: Outcome,
    pub seen: Option<Seen>,
}

/// All runs of a case: by arm, one sample a round.
pub type Samples = BTreeMap<Arm, Vec<Sample>>;

/// A mock server in a process of its own, which is this program again.
#[derive(Debug)]
pub struct MockServer {
    pub port: u16,
    _process: Guard,
}

impl MockServer {
    pub fn start(work_us: u64, text_bytes: usize) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([
            "mock-server",
            "--port",
            &port.to_string(),
            "--work-us",
            &work_us.to_string(),
        ]);
        command
            .args(["--text-bytes", &text_bytes.to_string()])
            .stdin(Stdio::null());
        let process = Guard::spawn(&mut command)?;
        wait::until("the mock server listening", START_LIMIT, || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop))
        })?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

impl Case {
    /// Runs the case with each arm in turn, again and again.
    pub fn run(&self, arms: &[Arm], effort: Effort) -> Result<Samples> {
        let server = MockServer::start(self.work_us, mock::TEXT_BYTES)?;
        let mut samples = Samples::new();
        // What storing costs shows at a fixed rate; at saturation it is the server that is measured.
        let stores = self.rate.is_some() && self.connections == PLAIN.connections;
        for _ in 0..effort.rounds {
            for arm in arms.iter().filter(|arm| stores || **arm != Arm::Storing) {
                let sample = self
                    .sample(*arm, &server, effort)
                    .with_context(|| format!("{}, {arm:?}", self.name))?;
                samples.entry(*arm).or_default().push(sample);
            }
        }
        Ok(samples)
    }

    fn sample(&self, arm: Arm, server: &MockServer, effort: Effort) -> Result<Sample> {
        let watcher = Watcher::start(arm, server.port)?;
        let outcome = load::run(self.load(server.port, effort.seconds))?;
        Ok(Sample {
            outcome,
            seen: watcher.finish()?,
        })
    }

    fn load(&self, port: u16, seconds: f64) -> load::Options {
        let Self {
            rate,
            stream,
            connections,
            ..
        } = *self;
        load::Options {
            port,
            connections,
            rate,
            stream,
            request_bytes: 1024,
            seconds,
        }
    }
}
