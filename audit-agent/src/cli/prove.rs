//! `audit-agent prove`: the proof that one record is in the log.

use super::log::{Opened, open};
use super::verifier;
use crate::ledger::note::Checkpoint;
use crate::ledger::proof_file::ProofFile;
use crate::ledger::source::Source;
use crate::ledger::store::{CHECKPOINT, COSIGNED};
use anyhow::{Context, bail};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sequence number of the record
    seq: u64,
    /// The log: its directory or an http:// address
    #[arg(long, default_value = super::DEFAULT_DIR)]
    log: String,
    /// The log's public key: the text of keys/log.pub, or a file that holds it
    #[arg(long)]
    key: String,
    /// The file to write; standard output when it is not given
    #[arg(long)]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::privilege::reader(args.log.contains("://"));
    let key = verifier(&args.key)?;
    let proof = match open(&args.log)? {
        Opened::Files(mut files) => prove(&mut files, args.seq, &key)?,
        Opened::Remote(mut remote) => prove(&mut remote, args.seq, &key)?,
        Opened::Lines(_) => bail!("a file of lines has no checkpoint; give the log's directory or address"),
    };
    match &args.out {
        Some(path) => std::fs::write(path, proof.to_string())
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => print!("{proof}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Proves a record under the checkpoint that witnesses cosigned, else under the last one.
pub fn prove(
    source: &mut impl Source,
    seq: u64,
    key: &crate::ledger::keys::Verifier,
) -> anyhow::Result<ProofFile> {
    let (size, note) = covering(source, seq, key)?;
    Ok(ProofFile::make(source, seq, size, &note)?)
}

/// The checkpoint to prove record `seq` under, and how many records it covers.
pub fn covering(
    source: &mut impl Source,
    seq: u64,
    key: &crate::ledger::keys::Verifier,
) -> anyhow::Result<(u64, String)> {
    for path in [COSIGNED, CHECKPOINT] {
        let Some(note) = source.fetch(path)? else { continue };
        let note = String::from_utf8(note).with_context(|| format!("{path} is not text"))?;
        let (checkpoint, _) =
            Checkpoint::open(&note, key).with_context(|| format!("{path} cannot be used"))?;
        if checkpoint.head.size > seq {
            return Ok((checkpoint.head.size, note));
        }
    }
    bail!("no checkpoint covers record {seq} yet; a running agent signs one every few seconds")
}
