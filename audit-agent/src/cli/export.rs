//! `audit-agent export`: records with everything that a third party needs to check them, and no program of ours.
//!
//! The bundle is a directory: `records.jsonl`, `epochs.jsonl` (each hand-over to the keys that signed them), a proof of
//! each line in `proofs/`, the log's key, a report for people, and `check.py`, which needs Python and OpenSSL only.

use super::log::{Opened, open};
use super::prove::covering;
use super::verifier;
use crate::ledger::keys::Verifier;
use crate::ledger::line::claim;
use crate::ledger::merkle::tile::{self, WIDTH};
use crate::ledger::proof_file::ProofFile;
use crate::ledger::source::Source;
use crate::ledger::store::KEPT;
use anyhow::{Context, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const CHECK: &str = include_str!("export/check.py");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// First sequence number
    #[arg(long)]
    from: u64,
    /// Last sequence number
    #[arg(long)]
    to: u64,
    /// The log: its directory or an http:// address
    #[arg(long, default_value = super::DEFAULT_DIR)]
    log: String,
    /// The log's public key: the text of keys/log.pub, or a file that holds it
    #[arg(long)]
    key: String,
    /// The directory to make
    #[arg(long)]
    out: PathBuf,
}

/// Lines by sequence number.
type Lines = BTreeMap<u64, Vec<u8>>;

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(args.from <= args.to, "--from is behind --to");
    ensure!(!args.out.exists(), "{} is there already", args.out.display());
    let key = verifier(&args.key)?;
    match open(&args.log)? {
        Opened::Files(mut files) => export(&mut files, args, &key)?,
        Opened::Remote(mut remote) => export(&mut remote, args, &key)?,
        Opened::Lines(_) => bail!("a file of lines has no proofs; give the log's directory or address"),
    }
    println!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

fn export(source: &mut impl Source, args: &Args, key: &Verifier) -> anyhow::Result<()> {
    let (size, checkpoint) = covering(source, args.to, key)?;
    let records = records(source, args.from, args.to, size)?;
    let epochs = epochs(source, args.to, size)?;
    let out = &args.out;
    fs::create_dir_all(out.join("proofs")).with_context(|| format!("cannot make {}", out.display()))?;
    for seq in records.keys().chain(epochs.keys()) {
        let proof = ProofFile::make(source, *seq, size, &checkpoint)?;
        write(
            out,
            &format!("proofs/{seq}.tlog-proof"),
            proof.to_string().as_bytes(),
        )?;
    }
    write(out, "records.jsonl", &joined(&records))?;
    write(out, "epochs.jsonl", &joined(&epochs))?;
    write(out, "log.pub", format!("{key}\n").as_bytes())?;
    write(out, "check.py", CHECK.as_bytes())?;
    write(out, "report.md", report(&records, key, size).as_bytes())
}

fn write(out: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let path = out.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn joined(lines: &Lines) -> Vec<u8> {
    lines
        .values()
        .flat_map(|line| [line.as_slice(), b"\n"].concat())
        .collect()
}

/// The lines of bundle `index` of a log with `size` lines; None when they were deleted.
fn bundle(source: &mut impl Source, index: u64, size: u64) -> anyhow::Result<Option<Lines>> {
    let first = index * WIDTH;
    let path = tile::path(None, index, (size - first).min(WIDTH));
    let Some(bytes) = source.fetch(&path)? else {
        return Ok(None);
    };
    let entries = tile::entries(&bytes).with_context(|| format!("{path} is broken"))?;
    Ok(Some(
        (first..).zip(entries.into_iter().map(<[u8]>::to_vec)).collect(),
    ))
}

fn records(source: &mut impl Source, from: u64, to: u64, size: u64) -> anyhow::Result<Lines> {
    let mut records = Lines::new();
    for index in from / WIDTH..=to / WIDTH {
        let lines = bundle(source, index, size)?;
        let lines =
            lines.with_context(|| format!("records from {} on are not there any more", index * WIDTH))?;
        records.extend(lines.into_iter().filter(|(seq, _)| (from..=to).contains(seq)));
    }
    Ok(records)
}

/// Every hand-over up to record `to`.
fn epochs(source: &mut impl Source, to: u64, size: u64) -> anyhow::Result<Lines> {
    let is_epoch = |line: &[u8]| claim(line).is_ok_and(|claim| claim.record_type == "epoch");
    let mut epochs = Lines::new();
    for line in source
        .fetch(KEPT)?
        .unwrap_or_default()
        .split(|byte| *byte == b'\n')
    {
        if let Some(seq) = claim(line).ok().filter(|_| is_epoch(line)).map(|claim| claim.seq) {
            epochs.insert(seq, line.into());
        }
    }
    for index in 0..=to / WIDTH {
        for (seq, line) in bundle(source, index, size)?.unwrap_or_default() {
            let found = line.windows(9).any(|word| word == b"next_key\"") && is_epoch(&line);
            if found && seq <= to {
                epochs.insert(seq, line);
            }
        }
    }
    Ok(epochs)
}

fn report(records: &Lines, key: &Verifier, size: u64) -> String {
    let mut text = String::new();
    let (first, last) = (
        records.keys().next().copied().unwrap_or(0),
        records.keys().next_back().copied().unwrap_or(0),
    );
    let _ = writeln!(text, "# Evidence: records {first} to {last} of `{}`\n", key.name);
    let _ = writeln!(
        text,
        "Each record below is in the log of {size} records that the checkpoint in its proof was signed over."
    );
    let _ = writeln!(
        text,
        "Check it with Python 3 and OpenSSL 3, and with a public key that came another way than this bundle:\n"
    );
    let _ = writeln!(text, "```sh\npython3 check.py --key '{key}'\n```\n");
    let _ = writeln!(text, "| seq | time | type | what |\n|--:|---|---|---|");
    for (seq, line) in records {
        let record: Value = serde_json::from_slice(line).unwrap_or_default();
        let member = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
        let what = super::pretty::line(&record).replace(['|', '`', '<', '\n'], " ");
        let what: String = what.chars().take(200).collect();
        let _ = writeln!(
            text,
            "| {seq} | {} | {} | {what} |",
            member("time"),
            member("record_type")
        );
    }
    text
}
