//! `audit-agent witness`: remembers the checkpoints of logs on other hosts and cosigns those that continue them.

use super::verifier;
use crate::host::clock;
use crate::ledger::disk::{DirDisk, Disk};
use crate::ledger::http::{Response, server};
use crate::ledger::keys::witness_key;
use crate::ledger::witness::ADD_CHECKPOINT;
use crate::ledger::witness::state::Witness;
use anyhow::{Context, ensure};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the witness's key and memory
    #[arg(long, default_value = "/var/lib/audit-witness")]
    dir: PathBuf,
    /// Name of the witness, such as witness.example; only for a new one
    #[arg(long, default_value = "audit-witness")]
    name: String,
    /// Public key of a log to witness, or a file that holds it (repeatable)
    #[arg(long, required = true)]
    log: Vec<String>,
    /// Address and port to answer on
    #[arg(long, default_value = "127.0.0.1:8788")]
    listen: String,
    /// Alarm when a log's checkpoint has not grown for so many seconds
    #[arg(long, default_value_t = 180)]
    silence: u64,
}

fn now() -> u64 {
    clock::unix_ns() / 1_000_000_000
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let logs = args
        .log
        .iter()
        .map(|log| verifier(log))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let key = witness_key(&args.dir, &args.name)?;
    let mut disk = DirDisk::new(&args.dir.join("state"));
    disk.make_dir("")
        .with_context(|| format!("cannot use {}", args.dir.display()))?;
    let lock = std::fs::File::create(args.dir.join(".lock"))?;
    let lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusiveNonblock);
    ensure!(lock.is_ok(), "another witness is using {}", args.dir.display());
    let witness = Witness::new(key, logs, disk, now());
    println!("{}", witness.verifier());
    let listener =
        TcpListener::bind(&args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, "the witness answers");
    let witness = Arc::new(Mutex::new(witness));
    let (watched, silence) = (Arc::clone(&witness), args.silence);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            for origin in watched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .silent(now(), silence)
            {
                tracing::error!(
                    origin,
                    seconds = silence,
                    "ALARM: the log is silent: its agent is stopped, cut off, or cannot write"
                );
            }
        }
    });
    server::serve(&listener, move |request| {
        let path = request.path.trim_start_matches('/');
        match (request.method.as_str(), path) {
            ("POST", ADD_CHECKPOINT) => witness
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add_checkpoint(&request.body, now()),
            _ => Response::text(404, "not here\n"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
