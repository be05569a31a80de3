//! The process that parses: from an inherited start to a confined run.
//!
//! In: the configuration, the channel to the monitor. Out: the agent's run, and its exit status. Never: a byte from the wire
//! before every right is given up.

use super::super::Place;
use crate::capture::file::Writer;
use crate::capture::live::ring::Events;
use crate::config::Config;
use crate::content::store::{Settings, Store};
use crate::event::HostFact;
use crate::host::clock;
use crate::ledger::chain::Line;
use crate::ledger::disk::DirDisk;
use crate::ledger::keys::{self, Keys};
use crate::ledger::policy::Policy;
use crate::ledger::witness::cosigned::Cosigned;
use crate::ledger::{Ledger, LogError, access, is_locked};
use crate::monitor::channel::{self, Channel};
use crate::monitor::client::Client;
use crate::pipeline::{Options, Pipeline};
use crate::privilege::capabilities::{self, Set};
use crate::privilege::{self, folder::Folders, identity::Account};
use crate::record::hash::Hasher;
use crate::run::Run;
use crate::run::witnesses::{self, Witnesses};
use crate::sink::Sink;
use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tracing::info;

/// Until the kernel has said how large its ring buffer is.
const UNTIL_MAPPED: Set = Set::of(&[capabilities::BPF]);
/// A worker whose monitor was killed lets its log go within this.
const LOCK_TRIES: u32 = 50;
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// What the worker is to do.
#[derive(Debug)]
pub struct Job<'a> {
    pub place: &'a Place,
    pub config: &'a Config,
    pub sink: Sink,
    /// The capture file to write.
    pub capture: Option<&'a Path>,
    /// Whether records are signed and kept.
    pub log: bool,
    /// Who is asked to cosign the log.
    pub witnesses: Option<Policy>,
    /// What is stored of prompts and answers.
    pub content: Settings,
    pub account: Account,
}

/// One of two processes after a fork, with its end of the channel between them.
enum Side {
    /// Asks these witnesses.
    Witnesses(Channel, Policy),
    /// Parses; None when there is nobody to ask.
    Worker(Option<(Channel, Policy)>),
}

/// Works until the end.
pub fn run(mut job: Job, monitor: Client, signals: SignalFd) -> anyhow::Result<ExitCode> {
    let dir = &job.place.dir;
    let folders = Folders::prepare(dir, job.account, job.content.is_needed())?;
    access::check(dir).with_context(|| format!("cannot look at {}", dir.display()))??;
    let asked = match split(job.witnesses.take())? {
        Side::Witnesses(worker, policy) => {
            // Ends that stay open here would keep the other two from noticing that one has ended; and of the folders, all but
            // the log are nothing to this process.
            let Folders { keys, log, content } = folders;
            drop((monitor, signals, keys, content));
            return witnesses::serve(policy, &worker, &log, job.account);
        }
        Side::Worker(asked) => asked,
    };
    privilege::name(privilege::WORKER_NAME);
    parse(job, monitor, signals, &folders, asked)
}

/// Starts the process that asks the witnesses.
fn split(policy: Option<Policy>) -> anyhow::Result<Side> {
    let Some(policy) = policy else {
        return Ok(Side::Worker(None));
    };
    let (theirs, ours) = channel::pair().context("no channel between two processes")?;
    // SAFETY: this process has one thread, so the child may go on as if it were this one.
    Ok(
        match unsafe { fork() }.context("cannot start the process that asks the witnesses")? {
            ForkResult::Child => Side::Witnesses(theirs, policy),
            ForkResult::Parent { .. } => Side::Worker(Some((ours, policy))),
        },
    )
}

fn parse(
    job: Job,
    mut monitor: Client,
    signals: SignalFd,
    folders: &Folders,
    asked: Option<(Channel, Policy)>,
) -> anyhow::Result<ExitCode> {
    // What only whoever started the agent may open.
    let recorder = job.capture.map(create_capture).transpose()?;
    let credential = keys::credential()?;
    privilege::reduce(&job.account, UNTIL_MAPPED)?;
    // From here on as an account without rights.
    let keys = Keys::with_credential(&folders.keys.reachable(), &log_name(job.config), credential)?;
    let verifier = keys.log.verifier();
    let pipeline = Pipeline::new(Options {
        content: job.config.content.mode,
        filter: job.config.filter.clone(),
        verifier_key: verifier.to_string(),
        hasher: Hasher::new(keys.hash.clone(), job.config.algorithm()),
        heartbeat_ns: job.config.log.heartbeat_s.saturating_mul(1_000_000_000),
    });
    let log = folders.log.reachable();
    let opened = job
        .log
        .then(|| open_log(&log, keys).with_context(|| folders.log.shown()));
    let opened = opened.transpose()?;
    let content = folders.content.as_ref().filter(|_| job.log);
    let content =
        content.map(|folder| Store::open(&folder.reachable(), job.content).with_context(|| folder.shown()));
    let content = content.transpose()?;
    let (ring, facts) = monitor.start();
    let (Some(ring), Some(HostFact::Start(mut start))) = (ring, facts.into_iter().next()) else {
        // The monitor has said why.
        return Ok(ExitCode::from(2));
    };
    let events = Events::open(ring).context("the ring buffer cannot be mapped")?;
    privilege::confine()?;
    info!("parsing with {}", privilege::status::own());
    let mut run = Run::new(events, monitor, pipeline, job.sink, signals);
    if let Some((mut ledger, lines)) = opened {
        ledger.keep(job.config.log.keep());
        run.ledger = Some(ledger);
        if let Some(content) = content {
            run.content = content;
        }
        lines.iter().for_each(|line| run.sink.line(&line.bytes));
    }
    run.recorder = recorder;
    run.witnesses = asked.map(|(channel, policy)| {
        let cosigned = Cosigned::new(DirDisk::new(&log), verifier.clone(), policy);
        Witnesses::new(channel, cosigned, &verifier)
    });
    start.config_sha256.clone_from(&job.config.sha256);
    run.run(start)?;
    Ok(ExitCode::SUCCESS)
}

/// Waits for the worker; its exit status is the agent's.
pub fn ended(worker: Pid) -> anyhow::Result<ExitCode> {
    loop {
        match waitpid(worker, None) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(ExitCode::from(u8::try_from(code).unwrap_or(2))),
            Ok(WaitStatus::Signaled(_, Signal::SIGSYS, _)) => bail!(
                "the worker made a system call that it may not make, and was ended; the kernel's audit log has its number: \
                 please report it"
            ),
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                bail!("the worker was ended by {signal}; the log says so at the next start")
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Opens the log; waits for a worker of before that has yet to notice that its monitor has ended.
fn open_log(dir: &Path, keys: Keys) -> Result<(Ledger, Vec<Line>), LogError> {
    for _ in 0..LOCK_TRIES {
        if !is_locked(dir) {
            break;
        }
        std::thread::sleep(LOCK_WAIT);
    }
    Ledger::open(dir, keys, clock::unix_ns())
}

fn create_capture(path: &Path) -> anyhow::Result<Writer<BufWriter<File>>> {
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let file = file.with_context(|| format!("cannot write the capture file {}", path.display()))?;
    Ok(Writer::new(BufWriter::with_capacity(1 << 20, file))?)
}

/// The configured name, else one made of the host's.
fn log_name(config: &Config) -> String {
    let name = if config.log.name.is_empty() {
        let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned());
        format!("{}/audit-agent", host.unwrap_or_else(|_| "localhost".into()))
    } else {
        config.log.name.clone()
    };
    // A name in a signed note has neither spaces nor `+`.
    name.chars()
        .map(|c| {
            if c.is_whitespace() || c.is_control() || c == '+' {
                '-'
            } else {
                c
            }
        })
        .collect()
}
