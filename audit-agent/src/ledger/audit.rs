//! The check of a whole log: every line, every checkpoint, every witness that is asked for.
//!
//! In: a log as resources, the log's public key, what the auditor kept and asks for. Out: a [`Finding`] with one
//! [`Verdict`]. Never: trust in a hash that was not computed here from the lines, where the lines are there.

mod judge;

use super::keys::Verifier;
use super::merkle::proof::Head;
use super::merkle::tile::{self, WIDTH};
use super::merkle::tree::Tree;
use super::merkle::{Hash, leaf};
use super::note::{Checkpoint, Note, NoteError};
use super::policy::Policy;
use super::source::{Source, hashes};
use super::store::{CHECKPOINT, COSIGNED, KEPT};
use super::verify::{LogCheck, Report};
use crate::record::hash::hex;
use judge::judge;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;

/// What the check comes to; each has its own exit status.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every line is as it was signed, and the checkpoint covers all of them.
    #[default]
    Intact,
    /// A line is not as it was signed, is missing, or is of another history.
    Tampered,
    /// There is nothing to check, or it cannot be read.
    Unreadable,
    /// Intact, and the log itself says that something was not recorded, or is silent where heartbeats should be.
    IntactWithGaps,
    /// Intact as far as the checkpoint goes; there are lines behind it.
    UnverifiedTail,
    /// The end is missing: a checkpoint covers more lines than there are.
    Truncated,
    /// Intact, but not cosigned as the policy asks.
    PolicyUnmet,
    /// The log is another one, or has another key, than the one given.
    WrongKey,
}

impl Verdict {
    /// Exit status of `audit-agent verify`.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Intact => 0,
            Self::Tampered => 1,
            Self::Unreadable => 2,
            Self::IntactWithGaps => 3,
            Self::UnverifiedTail => 4,
            Self::Truncated => 5,
            Self::PolicyUnmet => 6,
            Self::WrongKey => 7,
        }
    }
}

/// What the auditor brings along.
#[derive(Clone, Debug)]
pub struct Asked {
    pub key: Verifier,
    pub policy: Policy,
    /// Checkpoints of this log that were kept elsewhere.
    pub kept: Vec<(Head, Note)>,
    /// SHA-256 of line 0.
    pub first_line: Option<String>,
    /// The oldest that the quorum's newest cosignature may be, and now, in POSIX seconds.
    pub newest_since: Option<u64>,
}

/// What was found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Finding {
    pub verdict: Verdict,
    /// What led to it, for a person.
    pub reason: String,
    /// The first line that is not right, or not there.
    pub first_bad_seq: Option<u64>,
    pub origin: String,
    /// Lines that the checkpoint covers.
    pub signed: u64,
    pub root: Option<String>,
    /// Lines that a checkpoint covers which the policy's quorum cosigned.
    pub cosigned: u64,
    pub cosigned_by: Vec<String>,
    /// Lines behind the checkpoint, and whether bytes follow that are no line.
    pub unsigned: u64,
    pub torn: bool,
    /// Lines that were deleted under a signed retention record.
    pub retired: u64,
    /// SHA-256 of line 0: keep it.
    pub first_line: Option<String>,
    pub log: Report,
}

/// Goes through a log in the order of its lines.
#[derive(Debug)]
struct Walk {
    check: LogCheck,
    tree: Tree,
    /// Roots that have to be met, by size.
    due: BTreeMap<u64, Hash>,
    first_line: Option<String>,
    /// Lines that are only there as hashes.
    retired: u64,
}

/// Why a walk ends early.
#[derive(Debug)]
enum Stop {
    Io(io::Error),
    At(Verdict, u64, String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Walk {
    fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        let seq = self.tree.size();
        if !self.check.line(line) {
            return Err(self.fault());
        }
        let hash = leaf(line);
        if seq == 0 {
            self.first_line = Some(hex(&<sha2::Sha256 as sha2::Digest>::digest(line)));
        }
        self.grow(hash).or_else(|stop| {
            // What is wrong before this line comes first.
            self.settle()?;
            Err(stop)
        })
    }

    /// Checks the signatures that were put off.
    fn settle(&mut self) -> Result<(), Stop> {
        if self.check.settle() {
            Ok(())
        } else {
            Err(self.fault())
        }
    }

    fn fault(&self) -> Stop {
        let seq = self.check.fault_seq().unwrap_or_default();
        let wrong_key = seq == 0 && self.check.of_another_key();
        let verdict = if wrong_key {
            Verdict::WrongKey
        } else {
            Verdict::Tampered
        };
        Stop::At(verdict, seq, self.check.reason())
    }

    fn grow(&mut self, hash: Hash) -> Result<(), Stop> {
        self.tree.push(hash, &mut Vec::new());
        let size = self.tree.size();
        match self.due.get(&size) {
            Some(root) if *root != self.tree.root() => {
                let reason =
                    format!("the first {size} records are not those that a checkpoint was signed over");
                Err(Stop::At(Verdict::Tampered, size - 1, reason))
            }
            _ => Ok(()),
        }
    }

    /// A bundle whose lines were deleted: its hashes, and the lines of it that are kept for ever.
    fn retired(&mut self, hashes: Vec<Hash>, kept: &BTreeMap<u64, Vec<u8>>) -> Result<(), Stop> {
        self.settle()?;
        for hash in hashes {
            let seq = self.tree.size();
            if let Some(line) = kept.get(&seq) {
                if leaf(line) != hash || !self.check.kept(line, seq) {
                    let reason = "a kept record is not the one that was signed here".to_owned();
                    return Err(Stop::At(Verdict::Tampered, seq, reason));
                }
                if seq == 0 {
                    self.first_line = Some(hex(&<sha2::Sha256 as sha2::Digest>::digest(line)));
                }
            }
            self.retired += 1;
            self.grow(hash)?;
        }
        self.check.skip_to(self.tree.size());
        Ok(())
    }
}

/// Checks a log; `progress` hears how many lines of how many are done.
pub fn audit(source: &mut impl Source, asked: &Asked, progress: &mut dyn FnMut(u64, u64)) -> Finding {
    let mut finding = Finding {
        origin: asked.key.name.clone(),
        ..Finding::default()
    };
    if let Err(stop) = examine(source, asked, &mut finding, progress) {
        match stop {
            Stop::Io(error) => {
                finding.verdict = Verdict::Unreadable;
                finding.reason = error.to_string();
            }
            Stop::At(verdict, seq, reason) => {
                (finding.verdict, finding.first_bad_seq, finding.reason) = (verdict, Some(seq), reason);
            }
        }
    }
    finding
}

fn examine(
    source: &mut impl Source,
    asked: &Asked,
    finding: &mut Finding,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Stop> {
    let mut due = BTreeMap::new();
    let signed = signed_head(source, CHECKPOINT, asked)?;
    let cosigned = signed_head(source, COSIGNED, asked)?;
    for (head, _) in signed.iter().chain(&cosigned).chain(&asked.kept) {
        if due
            .insert(head.size, head.root)
            .is_some_and(|other| other != head.root)
        {
            let reason = format!(
                "two signed checkpoints of {} records differ: the log was forked",
                head.size
            );
            return Err(Stop::At(Verdict::Tampered, head.size.saturating_sub(1), reason));
        }
    }
    let size = signed.as_ref().map_or(0, |(head, _)| head.size);
    let there = source.extent()?;
    let end = there.unwrap_or(size).max(size);
    let mut walk = Walk {
        check: LogCheck::new(asked.key.clone()),
        tree: Tree::default(),
        due,
        first_line: None,
        retired: 0,
    };
    let walked = lines(source, &mut walk, there.unwrap_or(size), size, progress, end);
    let most = walk.due.last_key_value().map_or(0, |(size, _)| *size);
    (finding.retired, finding.first_line) = (walk.retired, walk.first_line.clone());
    let newest = signed.iter().chain(&asked.kept).max_by_key(|(head, _)| head.size);
    finding.signed = newest.map_or(0, |(head, _)| head.size);
    finding.root = newest.map(|(head, _)| hex(&head.root));
    finding.torn = source.torn()?;
    let reached = walk.check.fault_seq().unwrap_or(walk.tree.size());
    finding.unsigned = reached.saturating_sub(finding.signed);
    finding.log = walk.check.finish();
    walked?;
    if reached == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no record here").into());
    }
    if most > reached {
        let reason = format!("a checkpoint was signed over {most} records, and {reached} are here");
        return Err(Stop::At(Verdict::Truncated, reached, reason));
    }
    first_line(asked, finding)?;
    retention(finding)?;
    let notes = signed
        .into_iter()
        .chain(cosigned)
        .chain(asked.kept.iter().cloned());
    judge(asked, notes.collect(), finding)
}

/// A checkpoint that the log's key signed; None when there is none.
fn signed_head(source: &mut impl Source, path: &str, asked: &Asked) -> Result<Option<(Head, Note)>, Stop> {
    let Some(bytes) = source.fetch(path)? else {
        return Ok(None);
    };
    let stop = |verdict, reason: &str| Stop::At(verdict, 0, format!("{path}: {reason}"));
    let note = String::from_utf8(bytes).map_err(|_| stop(Verdict::Tampered, "not text"))?;
    match Checkpoint::open(&note, &asked.key) {
        Ok((checkpoint, note)) => Ok(Some((checkpoint.head, note))),
        Err(NoteError::Unsigned) => Err(stop(Verdict::WrongKey, "not signed by the key that was given")),
        Err(error) => Err(stop(Verdict::Tampered, &error.to_string())),
    }
}

/// Walks all lines that are there: bundle by bundle, in the order of the tree and not of what is found.
fn lines(
    source: &mut impl Source,
    walk: &mut Walk,
    there: u64,
    size: u64,
    progress: &mut dyn FnMut(u64, u64),
    end: u64,
) -> Result<(), Stop> {
    let mut kept = None;
    while walk.tree.size() < there {
        let from = walk.tree.size();
        let (index, width) = (from / WIDTH, (there - from).min(WIDTH));
        match source.fetch(&tile::path(None, index, width))? {
            Some(bundle) => {
                let entries = tile::entries(&bundle).filter(|entries| entries.len() as u64 == width);
                let broken = || {
                    Stop::At(
                        Verdict::Tampered,
                        from,
                        "the bundle of these records is broken".into(),
                    )
                };
                for entry in entries.ok_or_else(broken)? {
                    walk.line(entry)?;
                }
            }
            None => {
                let missing = |_| Stop::At(Verdict::Tampered, from, "the records are missing here".into());
                let hashes = hashes(source, 0, index, width).map_err(missing)?;
                if kept.is_none() {
                    kept = Some(kept_lines(source)?);
                }
                walk.retired(hashes, kept.as_ref().unwrap_or(&BTreeMap::new()))?;
            }
        }
        progress(walk.tree.size(), end.max(size));
    }
    walk.settle()
}

/// Lines that stay when their segment goes, by number.
fn kept_lines(source: &mut impl Source) -> io::Result<BTreeMap<u64, Vec<u8>>> {
    let bytes = source.fetch(KEPT)?.unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let numbered = lines.filter_map(|line| Some((super::line::claim(line).ok()?.seq, line.to_vec())));
    Ok(numbered.collect())
}

fn first_line(asked: &Asked, finding: &Finding) -> Result<(), Stop> {
    match &asked.first_line {
        Some(pinned) if finding.first_line.as_ref() != Some(pinned) => {
            let reason = "line 0 is not the one that was pinned: this is another log".to_owned();
            Err(Stop::At(Verdict::Tampered, 0, reason))
        }
        _ => Ok(()),
    }
}

/// Lines may be gone only as far as a signed retention record says.
fn retention(finding: &Finding) -> Result<(), Stop> {
    if finding.retired > finding.log.retired_before {
        let seq = finding.log.retired_before;
        let reason = "the records are missing here, and no retention record says so".to_owned();
        return Err(Stop::At(Verdict::Tampered, seq, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
