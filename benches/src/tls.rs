//! Loads over TLS: nginx that answers by itself, and nghttp2's h2load, each on the machine's OpenSSL.
//!
//! In: how long. Out: the same samples as of the loads in the clear. A client on another host has a library that nobody probes, so
//! h2load gets a copy of its own; in one case it calls the library that is probed, as a client on the server's host does.

use crate::arm::{Arm, Watcher};
use crate::cases::{Effort, Sample, Samples};
use crate::load::Outcome;
use crate::mock::{PATH, answer_text};
use anyhow::{Context, Result, ensure};
use audit_tests::process::{Guard, free_port};
use audit_tests::tls::Certificate;
use audit_tests::wait;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(10);
const REQUEST_TEXT: usize = 850;

/// One kind of load.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    /// Requests a second and connection; as fast as answers come when there is none.
    pub rate: Option<u32>,
    pub connections: u32,
    /// The client calls the server's library.
    shared: bool,
}

pub const CASES: [Case; 4] = [
    Case {
        name: "TLS, saturation, one connection",
        rate: None,
        connections: 1,
        shared: false,
    },
    Case {
        name: "TLS, saturation, 8 connections",
        rate: None,
        connections: 8,
        shared: false,
    },
    Case {
        name: "TLS, 1,000 req/s",
        rate: Some(1000),
        connections: 1,
        shared: false,
    },
    Case {
        name: "TLS, 1,000 req/s, one library",
        rate: Some(1000),
        connections: 1,
        shared: true,
    },
];

/// Whether this machine has the programs.
pub fn available() -> bool {
    let has = |program: &str| {
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    has("h2load") && Path::new("/usr/sbin/nginx").exists()
}

/// nginx in one process, which ends TLS and answers from its configuration.
#[derive(Debug)]
struct Nginx {
    port: u16,
    folder: TempDir,
    process: Guard,
}

impl Nginx {
    fn start() -> Result<Self> {
        let (folder, certificate, port) = (tempfile::tempdir()?, Certificate::create()?, free_port()?);
        let path = folder.path().join("nginx.conf");
        fs::write(&path, configuration(&certificate, port))?;
        let mut command = Command::new("/usr/sbin/nginx");
        command
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(path);
        let process = Guard::spawn(command.stdin(Stdio::null()).stderr(Stdio::null()))?;
        wait::until("nginx listening", START_LIMIT, || {
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop))
        })?;
        Ok(Self {
            port,
            folder,
            process,
        })
    }
}

fn configuration(certificate: &Certificate, port: u16) -> String {
    let (chain, key) = (certificate.chain(), certificate.key());
    let (chain, key) = (chain.display(), key.display());
    let answer = answer_text();
    format!(
        "daemon off; master_process off; pid nginx.pid; events {{}}\n\
         http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path body;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key};\n\
         location {PATH} {{ default_type application/json; return 200 '{answer}'; }} }} }}\n"
    )
}

impl Case {
    /// Runs the case with each arm in turn, again and again.
    pub fn run(&self, arms: &[Arm], effort: Effort) -> Result<Samples> {
        let server = Nginx::start()?;
        copy_library(server.process.pid(), server.folder.path())?;
        let request = server.folder.path().join("request.json");
        let text = "w".repeat(REQUEST_TEXT);
        fs::write(
            &request,
            format!(r#"{{"model":"mock","messages":[{{"role":"user","content":"{text}"}}]}}"#),
        )?;
        let mut samples = Samples::new();
        for _ in 0..effort.rounds {
            for arm in arms.iter().filter(|arm| **arm != Arm::Storing) {
                let watcher = Watcher::start(*arm, server.port)?;
                let outcome = self.load(&server, &request, effort.seconds);
                let outcome = outcome.with_context(|| format!("{}, {arm:?}", self.name))?;
                samples.entry(*arm).or_default().push(Sample {
                    outcome,
                    seen: watcher.finish()?,
                });
            }
        }
        Ok(samples)
    }

    fn load(&self, server: &Nginx, request: &Path, seconds: f64) -> Result<Outcome> {
        let log: PathBuf = server.folder.path().join("answers.tsv");
        // h2load adds to its log.
        let _ = fs::remove_file(&log);
        let mut command = Command::new("h2load");
        if !self.shared {
            command.env("LD_LIBRARY_PATH", server.folder.path());
        }
        command
            .args(["--h1", "-H", "content-type: application/json"])
            .args([
                "-D",
                &seconds.ceil().to_string(),
                "-c",
                &self.connections.to_string(),
            ])
            .args(
                self.rate
                    .iter()
                    .flat_map(|rate| ["--rps".to_owned(), rate.to_string()]),
            )
            .arg(format!("--log-file={}", log.display()))
            .arg(format!("--data={}", request.display()))
            .arg(format!("https://127.0.0.1:{}{PATH}", server.port));
        let done = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&done.stdout);
        ensure!(done.status.success(), "h2load: {said}");
        outcome(&fs::read_to_string(&log)?)
    }
}

/// Puts a copy of the TLS library that a process runs into `folder`.
fn copy_library(pid: u32, folder: &Path) -> Result<()> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let library = paths.find(|path| path.contains("/libssl."));
    let library = Path::new(library.context("nginx has no libssl of its own")?);
    fs::copy(library, folder.join(library.file_name().unwrap_or_default()))?;
    Ok(())
}

/// From a line for each answer: when it was begun, the status, how long it took; in microseconds.
fn outcome(log: &str) -> Result<Outcome> {
    let (mut begun, mut took) = (Vec::new(), Vec::new());
    for line in log.lines() {
        let fields: Vec<u64> = line.split('\t').map_while(|field| field.parse().ok()).collect();
        let [start, 200, micros] = fields[..] else {
            anyhow::bail!("no good answer: {line}");
        };
        begun.push(start);
        took.push(micros * 1000);
    }
    let first = begun.iter().min().context("no answer at all")?;
    let last = begun.iter().max().context("no answer at all")?;
    took.sort_unstable();
    let part = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    Ok(Outcome {
        answered: took.len() as u64,
        per_second: took.len() as f64 * 1e6 / (last - first).max(1) as f64,
        p50: part(50),
        p99: part(99),
        max: took.last().copied().unwrap_or_default(),
    })
}
