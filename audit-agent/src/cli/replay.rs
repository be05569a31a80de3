//! `audit-agent replay`: a capture file through the same core, to the same bytes.

use super::Place;
use crate::capture::file::Reader;
use crate::config::Config;
use crate::event::Input;
use crate::ledger::chain::Chain;
use crate::ledger::keys::Keys;
use crate::pipeline::{Options, Output, Pipeline};
use crate::record::hash::Hasher;
use crate::sink::{Format, Sink};
use anyhow::Context;
use std::io::Cursor;
use std::path::PathBuf;
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
    let capture =
        std::fs::read(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let config = Config::load(args.place.config.as_deref())?;
    let mut sink = Sink::new(args.output.unwrap_or_else(Format::for_stdout));
    let mut totals = Totals::default();
    let started = Instant::now();
    for _ in 0..args.repeat {
        let replayed = replay(&capture, &config, &args.place, &mut sink, &mut totals);
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
    place: &Place,
    sink: &mut Sink,
    totals: &mut Totals,
) -> anyhow::Result<()> {
    let keys = Keys::load_or_create(&place.dir.join("keys"), "replay")?;
    let mut pipeline = Pipeline::new(Options {
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
                lines.drain(..).for_each(|line| sink.line(&line.bytes));
                chain.take_full();
            }
        }
    }
    Ok(())
}
