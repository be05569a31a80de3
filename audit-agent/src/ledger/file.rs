//! The file of the log: only ever longer, and readable after any interruption.
//!
//! In: signed lines. Out: the same lines, durable. One agent at a time. A last line that was not written whole is
//! moved aside, never dropped; a file that ends in somebody else's line is left alone.

use super::chain::GENESIS;
use super::keys::Verifier;
use super::verify::{LineError, check_line};
use crate::limits;
use crate::record::hash::hex;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

pub const FILE_NAME: &str = "audit.jsonl";

#[derive(Debug, Error)]
pub enum LogError {
    #[error(
        "cannot use the log {path}: {source}; nothing is lost yet: lines are kept in memory and tried again"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "cannot open the log {path}: {source}; give another place with --dir, or make it writable for the agent"
    )]
    Open { path: PathBuf, source: io::Error },
    #[error("another agent is using the log in {0}; stop it, or give another place with --dir")]
    Locked(PathBuf),
    #[error(
        "the last line of {path} was not signed with this key ({reason}); move the file away, or restore keys/ from its copy"
    )]
    Foreign { path: PathBuf, reason: LineError },
}

/// An open log.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    _lock: Flock<File>,
}

/// Where a log ended when it was opened.
#[derive(Debug, Default)]
pub struct Tail {
    pub next_seq: u64,
    pub prev: [u8; 32],
    pub torn: Option<Torn>,
    /// The time of the last line, when it is not an `agent_stop`.
    pub unclean_since: Option<String>,
}

/// A last line that was not whole.
#[derive(Debug)]
pub struct Torn {
    pub bytes: u64,
    pub file: String,
    pub sha256: String,
}

impl LogFile {
    /// Opens or creates `dir/audit.jsonl` and finds where to go on.
    pub fn open(dir: &Path, verifier: &Verifier) -> Result<(Self, Tail), LogError> {
        let path = dir.join(FILE_NAME);
        let at = |source| LogError::Open {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(at)?;
        let lock = File::create(dir.join(".lock")).map_err(at)?;
        let lock =
            Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| LogError::Locked(dir.into()))?;
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .mode(0o640)
            .open(&path)
            .map_err(at)?;
        let torn = set_torn_line_aside(dir, &mut file).map_err(at)?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)?;
        let mut tail = last_line(&mut file).map_err(at)?.map_or_else(
            || {
                Ok(Tail {
                    prev: GENESIS,
                    ..Tail::default()
                })
            },
            |line| {
                read_tail(&line, verifier).map_err(|reason| LogError::Foreign {
                    path: path.clone(),
                    reason,
                })
            },
        )?;
        tail.torn = torn;
        Ok((
            Self {
                path,
                file,
                _lock: lock,
            },
            tail,
        ))
    }

    /// Writes `waiting` and makes it durable; takes out what was written, also when it fails in between.
    pub fn append(&mut self, waiting: &mut Vec<u8>) -> Result<(), LogError> {
        let at = |source| LogError::Write {
            path: self.path.clone(),
            source,
        };
        if waiting.is_empty() {
            return Ok(());
        }
        let mut written = 0;
        let result = loop {
            match self.file.write(waiting.get(written..).unwrap_or_default()) {
                Ok(0) if written < waiting.len() => break Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == waiting.len() {
                break Ok(());
            }
        };
        waiting.drain(..written);
        result.map_err(at)?;
        self.file.sync_data().map_err(at)
    }
}

fn read_tail(line: &[u8], verifier: &Verifier) -> Result<Tail, LineError> {
    let checked = check_line(line, verifier)?;
    let clean = checked.record_type == "agent_stop";
    Ok(Tail {
        next_seq: checked.seq + 1,
        prev: Sha256::digest(line).into(),
        torn: None,
        unclean_since: (!clean).then_some(checked.time),
    })
}

/// Moves what follows the last line end to a file of its own.
fn set_torn_line_aside(dir: &Path, file: &mut File) -> io::Result<Option<Torn>> {
    let len = file.seek(SeekFrom::End(0))?;
    let window = len.min(2 * limits::RECORD_BYTES as u64);
    let tail = read_at(file, len - window, window)?;
    let keep = tail
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let torn = tail.get(keep..).unwrap_or_default();
    if torn.is_empty() {
        return Ok(None);
    }
    let whole = len - torn.len() as u64;
    let name = format!("audit.torn-at-{whole}");
    let mut aside = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o640)
        .open(dir.join(&name))?;
    aside.write_all(torn)?;
    aside.sync_all()?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok(Some(Torn {
        bytes: torn.len() as u64,
        file: name,
        sha256: hex(&Sha256::digest(torn)),
    }))
}

/// The last line of a file that ends with a line end.
fn last_line(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let len = file.seek(SeekFrom::End(0))?;
    let window = len.min(2 * limits::RECORD_BYTES as u64);
    let tail = read_at(file, len - window, window)?;
    let Some(lines) = tail.strip_suffix(b"\n") else {
        return Ok(None);
    };
    let start = lines
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Ok(lines.get(start..).map(<[u8]>::to_vec))
}

fn read_at(file: &mut File, from: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(len).read_to_end(&mut bytes)?;
    Ok(bytes)
}
