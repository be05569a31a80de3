//! `audit-agent show`: one record, and for holders of an identity what was asked and answered in it.

use super::pretty;
use crate::cli::DEFAULT_DIR;
use crate::content::age::Identity;
use crate::content::reader::{self, ReadError};
use crate::content::request::{self, Request};
use crate::ledger::disk::DirDisk;
use crate::ledger::source::Files;
use crate::ledger::store;
use anyhow::{Context, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// With --content the running agent first records the access in the log.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Sequence number of the record
    seq: u64,
    /// Directory of keys/, log/ and content/
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Show the stored prompt and completion
    #[arg(long, requires = "identity")]
    content: bool,
    /// Identity file, as `audit-agent content keygen` or `age-keygen` writes it
    #[arg(long)]
    identity: Option<PathBuf>,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let record = record(&args.dir, args.seq)?;
    let record =
        record.with_context(|| format!("the log in {} has no record {}", args.dir.display(), args.seq))?;
    match args.identity.as_deref().filter(|_| args.content) {
        None => print(&record),
        Some(identity) => content(args, &record, identity),
    }
}

fn content(args: &Args, record: &Value, identity: &Path) -> anyhow::Result<ExitCode> {
    let about = record.get("content").context("only an inference has content")?;
    let identities = read_identity(identity)?;
    let readers: Vec<String> = identities
        .iter()
        .map(|identity| identity.recipient().to_string())
        .collect();
    let access = Request::Access {
        content_seq: args.seq,
        login_uid: request::login_uid(),
        reader: readers.join(","),
    };
    // What cannot be shown is no access; what can is recorded first.
    let object = match reader::read(&args.dir, about, &identities) {
        Ok(object) => object,
        Err(ReadError::NoKey(id)) => return gone(&args.dir, "erasure", &id),
        Err(ReadError::NoSegment(name)) => return gone(&args.dir, "retention", &name),
        Err(error) => return Err(error.into()),
    };
    request::ask(&args.dir, &access).context("the access is not in the log, so nothing is shown")?;
    print(&object)
}

/// A key or a segment is not there: the log says whether that is in order.
fn gone(dir: &Path, kind: &str, name: &str) -> anyhow::Result<ExitCode> {
    let member = if kind == "erasure" { "key_ids" } else { "files" };
    let names = |record: &Value| {
        record["record_type"] == kind
            && record[member]
                .as_array()
                .is_some_and(|names| names.iter().any(|n| n == name))
    };
    match find(dir, names)? {
        Some(record) => {
            println!("{}", deed(&record, kind, name));
            Ok(ExitCode::SUCCESS)
        }
        None => bail!("{name} is not there, and no {kind} record says why"),
    }
}

/// What `record`, which is of this kind, says of `name`.
fn deed(record: &Value, kind: &str, name: &str) -> String {
    let seq = &record["seq"];
    let time = record["time"].as_str().unwrap_or_default();
    match kind {
        "erasure" => format!("erased: record {seq} of {time} destroyed the user's keys"),
        _ => format!("expired: record {seq} of {time} removed the segment {name}"),
    }
}

fn read_identity(path: &Path) -> anyhow::Result<Vec<Identity>> {
    const MOST: u64 = 64 * 1024;
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    file.with_context(|| format!("cannot read the identity file {}", path.display()))?;
    Ok(Identity::parse_file(&text)?)
}

fn log(dir: &Path) -> DirDisk {
    DirDisk::new(&dir.join("log"))
}

/// Record `seq` of the log.
fn record(dir: &Path, seq: u64) -> anyhow::Result<Option<Value>> {
    let line = Files::new(log(dir)).line(seq).context("cannot read the log")?;
    Ok(line.and_then(|line| serde_json::from_slice(&line).ok()))
}

/// The first record of the log that `fits`.
fn find(dir: &Path, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Option<Value>> {
    let mut files = Files::new(log(dir));
    for first in store::segments(files.disk()).context("cannot read the log")? {
        for seq in first..first.saturating_add(store::SEGMENT) {
            let Some(line) = files.line(seq)? else { break };
            if let Ok(record) = serde_json::from_slice(&line)
                && fits(&record)
            {
                return Ok(Some(record));
            }
        }
    }
    Ok(None)
}

/// What came from the wire cannot steer a terminal; in a pipe it is as it was.
fn print(value: &Value) -> anyhow::Result<ExitCode> {
    let text = serde_json::to_string_pretty(value)?;
    if std::io::stdout().is_terminal() {
        text.lines()
            .for_each(|line| println!("{}", pretty::harmless(line)));
    } else {
        println!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deed_is_told_as_text_and_not_as_json() {
        let record = json!({"seq": 26, "time": "2026-11-21T15:23:27.800209026Z"});
        assert_eq!(
            deed(&record, "erasure", "9457e18b29115948"),
            "erased: record 26 of 2026-11-21T15:23:27.800209026Z destroyed the user's keys"
        );
        assert_eq!(
            deed(&record, "retention", "1795274599-516b1973.tar"),
            "expired: record 26 of 2026-11-21T15:23:27.800209026Z removed the segment 1795274599-516b1973.tar"
        );
    }
}
