//! `audit-agent verify`: checks a log with its public key alone.

use crate::ledger::disk::DirDisk;
use crate::ledger::keys::Verifier;
use crate::ledger::store::{segment, segments};
use crate::ledger::verify::{LogCheck, Report};
use crate::limits;
use anyhow::Context;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Exit status: 0 intact (declared gaps are listed), 1 tampered, 2 unreadable, 3 the last line is torn.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log's directory, or a file of its lines from the first on
    log: PathBuf,
    /// The log's public key: the text of keys/log.pub, or a file that holds it
    #[arg(long)]
    key: String,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let verifier = verifier(&args.key)?;
    let report = check(BufReader::with_capacity(1 << 20, open(&args.log)?), verifier)?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(match &report {
        Report { fault: Some(_), .. } => ExitCode::from(1),
        Report { torn: true, .. } => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    })
}

/// A file, or the segments of a directory one behind the other.
fn open(log: &Path) -> anyhow::Result<Box<dyn Read>> {
    let cannot = || format!("cannot read the log {}", log.display());
    if !log.is_dir() {
        return Ok(Box::new(File::open(log).with_context(cannot)?));
    }
    let mut whole: Box<dyn Read> = Box::new(std::io::empty());
    for first in segments(&DirDisk::new(log)).with_context(cannot)? {
        let file = File::open(log.join(segment(first))).with_context(cannot)?;
        whole = Box::new(whole.chain(file));
    }
    Ok(whole)
}

fn verifier(key: &str) -> anyhow::Result<Verifier> {
    match Verifier::parse(key) {
        Ok(verifier) => Ok(verifier),
        Err(error) => match std::fs::read_to_string(key) {
            Ok(text) => Verifier::parse(&text).map_err(Into::into),
            Err(_) => Err(error.into()),
        },
    }
}

/// Checks line by line; a line that is longer than any record is not read to its end.
fn check(mut log: impl BufRead, verifier: Verifier) -> anyhow::Result<Report> {
    let mut check = LogCheck::new(verifier);
    let mut line = Vec::new();
    let most = 2 * limits::RECORD_BYTES as u64;
    loop {
        line.clear();
        (&mut log)
            .take(most)
            .read_until(b'\n', &mut line)
            .context("cannot read the log")?;
        match line.strip_suffix(b"\n") {
            Some(whole) => {
                if !check.line(whole) {
                    break;
                }
            }
            None if line.is_empty() => break,
            None if (line.len() as u64) < most => {
                check.torn();
                break;
            }
            None => {
                check.line(&line);
                break;
            }
        }
    }
    Ok(check.finish())
}

fn print(report: &Report) {
    let times = [&report.first_time, &report.last_time].map(|time| time.as_deref().unwrap_or("-"));
    println!("{} records from {} to {}", report.records, times[0], times[1]);
    for (kind, count) in &report.by_type {
        println!("  {count:>8} {kind}");
    }
    for (place, count) in &report.gaps {
        println!("  {count:>8} declared gaps: {place}");
    }
    match (&report.fault, report.torn) {
        (Some(fault), _) => println!(
            "TAMPERED at sequence number {} (line {}): {}",
            fault.seq, fault.line, fault.reason
        ),
        (None, true) => {
            println!("TORN: the last line was not written whole; the records before it are intact")
        }
        (None, false) => println!("INTACT"),
    }
}
