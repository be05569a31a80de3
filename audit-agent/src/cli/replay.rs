//! `audit-agent replay`: a capture file through the same core, to the same bytes.

use super::Place;
use crate::capture::file::Reader;
use crate::config::Config;
use crate::event::Input;
use crate::ledger::chain::Chain;
use crate::ledger::disk::{DirDisk, Disk, Read};
use crate::ledger::keys::Keys;
use crate::ledger::store::{RECORDS, Store};
use crate::pipeline::{Options, Output, Pipeline};
use crate::record::hash::Hasher;
use crate::sink::{Format, Sink};
use anyhow::{Context, ensure};
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The capture file
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// How records are shown
    #[arg(long, value_enum)]
    output: Option<Format>,
    /// Write the log that this makes into an empty directory
    #[arg(long)]
    log: Option<PathBuf>,
    /// Replay so many times and print what it took, for measurements
    #[arg(long, default_value_t = 1)]
    repeat: u32,
}

/// What went through.
#[derive(Debug, Default)]
struct Totals {
    events: u64,
    records: u64,
    bytes: u64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement of the core from outside it"
)]
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::privilege::reader(false);
    let capture =
        std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let config = Config::load(args.place.config.as_deref())?;
    let mut sink = Sink::new(args.output.unwrap_or_else(Format::for_stdout));
    let mut totals = Totals::default();
    let started = Instant::now();
    for _ in 0..args.repeat {
        let replayed = replay(&capture, &config, args, &mut sink, &mut totals);
        replayed.with_context(|| format!("cannot replay {}", args.file.display()))?;
    }
    sink.flush();
    if args.repeat > 1 {
        let Totals {
            events,
            records,
            bytes,
        } = totals;
        let elapsed = started.elapsed().as_nanos();
        println!(
            "{{\"records\":{records},\"events\":{events},\"body_bytes\":{bytes},\"elapsed_ns\":{elapsed}}}"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn replay(
    capture: &[u8],
    config: &Config,
    args: &Args,
    sink: &mut Sink,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let keys = Keys::load_or_create(&args.place.dir.join("keys"), "replay")?;
    let mut store = args.log.as_deref().map(new_log).transpose()?;
    let mut pipeline = Pipeline::new(Options {
        content: config.content.mode,
        filter: config.filter.clone(),
        verifier_key: keys.log.verifier().to_string(),
        hasher: Hasher::new(keys.hash, config.algorithm()),
        heartbeat_ns: config.log.heartbeat_s.saturating_mul(1_000_000_000),
    });
    let mut chain = Chain::new(keys.log, keys.epochs);
    let mut reader = Reader::new(Cursor::new(capture))?;
    let (mut outputs, mut lines) = (Vec::new(), Vec::new());
    while let Some(input) = reader.next_input()? {
        totals.events += 1;
        if let Input::Kernel(event) = &input
            && let audit_common::decode::Body::Data(data) = &event.body
        {
            totals.bytes += data.bytes.len() as u64;
        }
        pipeline.feed(input, &mut outputs);
        for output in outputs.drain(..) {
            if let Output::Record { body, unix_ns } = output {
                totals.records += 1;
                chain.sign(&body, unix_ns, &mut lines);
                let mut full = chain.take_full();
                for line in lines.drain(..) {
                    sink.line(&line.bytes);
                    if let Some(store) = &mut store {
                        store.put(line.seq, &line.bytes, &mut full);
                    }
                }
            }
        }
    }
    if let Some(store) = &mut store {
        store.commit()?;
        store.publish(&chain.checkpoint().to_string())?;
    }
    Ok(())
}

/// A log in a directory that has none.
fn new_log(dir: &Path) -> anyhow::Result<Store<DirDisk>> {
    let mut disk = DirDisk::new(dir);
    disk.make_dir("")
        .with_context(|| format!("cannot make {}", dir.display()))?;
    ensure!(
        disk.list(RECORDS)?.is_empty(),
        "{} has a log already",
        dir.display()
    );
    Ok(Store::new(disk, 0, 0, Vec::new()))
}
