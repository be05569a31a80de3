//! `audit-agent run` and `record`: the agent on this host.

mod worker;

use super::Place;
use crate::capture::live::Kernel;
use crate::config::Config;
use crate::ledger::policy::Policy;
use crate::monitor::client::Client;
use crate::monitor::{self, channel};
use crate::privilege::{self, identity::Account};
use crate::sink::{Format, Sink};
use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{ForkResult, fork, getpid, getsid};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use worker::Job;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// How records are shown; readable on a terminal, JSON elsewhere
    #[arg(long, value_enum)]
    output: Option<Format>,
    /// Write a capture file beside the log
    #[arg(long)]
    record: Option<PathBuf>,
    /// Watch only this port (repeatable)
    #[arg(long)]
    port: Vec<u16>,
    /// Watch only servers with this executable, `*` for any text (repeatable)
    #[arg(long)]
    exe: Vec<String>,
    /// Watch only servers with this command name (repeatable)
    #[arg(long)]
    comm: Vec<String>,
    /// Watch only servers in this systemd unit (repeatable)
    #[arg(long)]
    unit: Vec<String>,
    /// Watch only servers in this cgroup (repeatable)
    #[arg(long)]
    cgroup: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    #[command(flatten)]
    place: Place,
    /// The capture file; it holds prompts and answers
    #[arg(long)]
    out: PathBuf,
}

/// Captures, signs and stores.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut config = Config::load(args.place.config.as_deref())?;
    config.filter.ports.extend(args.port);
    config.filter.exe.extend(args.exe);
    config.filter.comm.extend(args.comm);
    config.filter.unit.extend(args.unit);
    config.filter.cgroup.extend(args.cgroup);
    let format = args.output.unwrap_or_else(Format::for_stdout);
    start(
        &args.place,
        &config,
        Sink::new(format),
        args.record.as_deref(),
        true,
    )
}

/// Captures only: the file replays to the records that `run` would have made.
pub fn record(args: &RecordArgs) -> anyhow::Result<ExitCode> {
    let config = Config::load(args.place.config.as_deref())?;
    start(
        &args.place,
        &config,
        Sink::new(Format::None),
        Some(&args.out),
        false,
    )
}

/// Two processes from here on: the worker parses, without rights; this one, the monitor, does what takes rights.
fn start(
    place: &Place,
    config: &Config,
    sink: Sink,
    capture: Option<&Path>,
    log: bool,
) -> anyhow::Result<ExitCode> {
    // Before any thread or process is made, so that all of them have the signals blocked.
    let signals = signals()?;
    be_nice(config.capture.nice);
    privilege::harden()?;
    privilege::require()?;
    let account = Account::choose(&config.process.user)?;
    let witnesses = if log { witnesses(config)? } else { None };
    let content = config.store()?;
    let (ours, workers) = channel::pair().context("no channel between two processes")?;
    // SAFETY: this process has one thread, so the child may go on as if it were this one.
    match unsafe { fork() }.context("cannot start the worker")? {
        ForkResult::Child => {
            drop(ours);
            let job = Job {
                place,
                config,
                sink,
                capture,
                log,
                witnesses,
                content,
                account,
            };
            worker::run(job, Client::new(workers), signals)
        }
        ForkResult::Parent { child } => {
            drop(workers);
            let served = monitor::serve(&ours, &signals, || {
                mount_tracefs();
                let mut kernel = Kernel::load(config.capture.sizes(), config.capture.path)?;
                privilege::hold(&account, kernel.probes_take_more())?;
                Ok(kernel)
            });
            // The worker ends when it hears that nobody answers any more.
            drop(ours);
            let code = worker::ended(child);
            served.and(code)
        }
    }
}

/// Whom to ask for cosignatures; read by who starts the agent, since it may be for nobody else to read.
fn witnesses(config: &Config) -> anyhow::Result<Option<Policy>> {
    let Some(path) = &config.log.witness_policy else {
        return Ok(None);
    };
    let named = || format!("the witness policy {}", path.display());
    let text = std::fs::read_to_string(path).with_context(named)?;
    Policy::parse(&text).with_context(named).map(Some)
}

/// Holds empty programs in place until a signal comes, for the measurements.
pub fn floor() -> anyhow::Result<ExitCode> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    mount_tracefs();
    let _programs = crate::capture::live::attach_floor()?;
    tracing::info!("audit-agent ready");
    set.wait()?;
    Ok(ExitCode::SUCCESS)
}

fn signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for signals")
}

/// Servers go first: what the agent cannot keep up with is counted and signed.
///
/// Where the kernel shares out time between sessions first (`sched_autogroup_enabled`, sched(7)), a nice value only counts inside
/// of one; a service has its own, which then gets the value too.
fn be_nice(nice: i32) {
    const SESSION: &str = "/proc/self/autogroup";
    // SAFETY: a plain system call on this process.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
        tracing::warn!("the nice value could not be set");
    }
    let leads = getsid(None).is_ok_and(|session| session == getpid());
    if leads
        && Path::new(SESSION).exists()
        && let Err(error) = std::fs::write(SESSION, nice.to_string())
    {
        tracing::warn!(%error, "the nice value could not be set for the session");
    }
}

/// One probe is found through tracefs, which minimal systems do not mount.
fn mount_tracefs() {
    const TRACEFS: &str = "/sys/kernel/tracing";
    if Path::new(TRACEFS).join("events").exists() {
        return;
    }
    let none: Option<&str> = None;
    match nix::mount::mount(
        Some("tracefs"),
        TRACEFS,
        Some("tracefs"),
        nix::mount::MsFlags::empty(),
        none,
    ) {
        Ok(()) => tracing::info!("mounted tracefs on {TRACEFS}"),
        Err(error) => tracing::warn!(%error, "tracefs is not mounted on {TRACEFS} and cannot be"),
    }
}
