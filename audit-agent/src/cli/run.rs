//! `audit-agent run` and `record`: the agent on this host.

use super::Place;
use crate::capture::file::Writer;
use crate::capture::live::Kernel;
use crate::config::Config;
use crate::host::clock;
use crate::ledger::Ledger;
use crate::ledger::access;
use crate::ledger::keys::Keys;
use crate::ledger::policy::Policy;
use crate::ledger::witness::client::{self, Client};
use crate::pipeline::{Options, Pipeline};
use crate::record::hash::Hasher;
use crate::run::Run;
use crate::sink::{Format, Sink};
use anyhow::Context;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::{File, OpenOptions};
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

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

fn start(
    place: &Place,
    config: &Config,
    sink: Sink,
    capture: Option<&Path>,
    log: bool,
) -> anyhow::Result<ExitCode> {
    // Before any thread is made, so that all of them have the signals blocked.
    let signals = signals()?;
    be_nice(config.capture.nice);
    mount_tracefs();
    let keys = Keys::load_or_create(&place.dir.join("keys"), &log_name(config))?;
    let pipeline = Pipeline::new(Options {
        filter: config.filter.clone(),
        verifier_key: keys.log.verifier().to_string(),
        hasher: Hasher::new(keys.hash.clone(), config.algorithm()),
        heartbeat_ns: config.log.heartbeat_s.saturating_mul(1_000_000_000),
    });
    access::check(&place.dir).with_context(|| format!("cannot look at {}", place.dir.display()))??;
    if log {
        ask_witnesses(place, config, &keys)?;
    }
    let opened = log
        .then(|| Ledger::open(&place.dir.join("log"), keys, clock::unix_ns()))
        .transpose()?;
    let kernel = Kernel::load(config.capture.sizes(), config.capture.path)?;
    let mut run = Run::new(kernel, pipeline, sink, signals);
    if let Some((mut ledger, lines)) = opened {
        ledger.keep(config.log.keep());
        run.ledger = Some(ledger);
        lines.iter().for_each(|line| run.sink.line(&line.bytes));
    }
    run.recorder = capture.map(create_capture).transpose()?;
    run.run(config.sha256.clone())?;
    Ok(ExitCode::SUCCESS)
}

/// Has the witnesses of the policy, if there is one, cosign the log beside the run.
fn ask_witnesses(place: &Place, config: &Config, keys: &Keys) -> anyhow::Result<()> {
    if let Some(path) = &config.log.witness_policy {
        let named = || format!("the witness policy {}", path.display());
        let policy =
            Policy::parse(&std::fs::read_to_string(path).with_context(named)?).with_context(named)?;
        client::start(Client::new(&place.dir.join("log"), keys.log.verifier(), policy));
    }
    Ok(())
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

fn signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block().context("cannot block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("cannot wait for signals")
}

/// Servers go first: what the agent cannot keep up with is counted and signed.
fn be_nice(nice: i32) {
    // SAFETY: a plain system call on this process.
    if unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) } != 0 {
        tracing::warn!("the nice value could not be set");
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
