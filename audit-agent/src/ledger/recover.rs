//! Where a log ends, after whatever ended its agent.
//!
//! In: the files. Out: the place to go on from, or why this log must not be gone on with. Never: a log continued that is
//! shorter than, or other than, what was signed. A line that was not written whole is moved aside, never dropped.

use super::chain::Place;
use super::disk::{Disk, Read};
use super::keys::Verifier;
use super::merkle::proof::{self, Head};
use super::merkle::tile::{Tile, Tiles};
use super::merkle::tree::Tree;
use super::merkle::{Hash, leaf};
use super::note::Checkpoint;
use super::source::{Files, hashes};
use super::store::{CHECKPOINT, SEGMENT, segment, segments};
use crate::record::hash::hex;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::io;
use thiserror::Error;

/// Why a log is not gone on with.
#[derive(Debug, Error)]
pub enum RecoverError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its checkpoint cannot be read: {0}")]
    Checkpoint(String),
    #[error("its checkpoint says {signed} records and there are {found}: its end was cut off")]
    Cut { signed: u64, found: u64 },
    #[error("its first {0} records are not those that its checkpoint was signed over")]
    Changed(u64),
}

/// A last line that was not whole, or was not the next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Torn {
    pub bytes: u64,
    pub file: String,
    pub sha256: String,
}

/// Where a log ends.
#[derive(Debug)]
pub struct End {
    pub place: Place,
    /// Tiles that the lines of the last segment filled.
    pub tiles: Vec<Tile>,
    /// The last segment and how many of its bytes are good.
    pub open: u64,
    pub durable: u64,
    pub torn: Option<Torn>,
    pub last: Option<Vec<u8>>,
    /// Of the last checkpoint; 0 without one.
    pub signed: u64,
}

/// Finds the end of the log on `disk`, whose checkpoints `log` signs, and repairs what an interruption left there.
pub fn recover<D: Disk>(disk: &mut D, log: &Verifier) -> Result<End, RecoverError> {
    let checkpoint = checkpoint(disk, log)?;
    let open = segments(disk)?.last().copied().unwrap_or(0);
    let bytes = disk.read(&segment(open))?.unwrap_or_default();
    let (place, last) = before(disk, open)?;
    let mut end = End {
        place,
        tiles: Vec::new(),
        open,
        durable: 0,
        torn: None,
        last,
        signed: checkpoint.map_or(0, |head| head.size),
    };
    let mut roots = checkpoint
        .into_iter()
        .filter(|head| head.size > open)
        .collect::<Vec<_>>();
    if let Some(head) = checkpoint.filter(|head| (1..=open).contains(&head.size)) {
        same_root(root_at(disk, open, head.size)?, &head)?;
    }
    walk(&bytes, &mut end, &mut roots)?;
    if let Some(head) = roots.pop() {
        return Err(RecoverError::Cut {
            signed: head.size,
            found: end.place.seq,
        });
    }
    let torn = bytes
        .get(usize::try_from(end.durable).unwrap_or(usize::MAX)..)
        .unwrap_or_default();
    if !torn.is_empty() {
        end.torn = Some(set_aside(disk, torn, &end)?);
    }
    Ok(end)
}

fn checkpoint(disk: &impl Read, log: &Verifier) -> Result<Option<Head>, RecoverError> {
    let Some(note) = disk.read(CHECKPOINT)? else {
        return Ok(None);
    };
    let wrong = |reason: String| RecoverError::Checkpoint(reason);
    let note = String::from_utf8(note).map_err(|_| wrong("not text".into()))?;
    let (checkpoint, _) = Checkpoint::open(&note, log).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(checkpoint.head))
}

/// The place of the first line of segment `open`, and the line before it.
fn before(disk: &impl Read, open: u64) -> Result<(Place, Option<Vec<u8>>), RecoverError> {
    let mut files = Files::new(disk);
    let tree = Tree::resume(open, |level, index| {
        let width = super::merkle::tile::width_at(level, index, open);
        hashes(&mut files, level, index, width)
    })?;
    let Some(seq) = open.checked_sub(1) else {
        return Ok((Place::default(), None));
    };
    let last = files.line(seq)?.ok_or(RecoverError::Changed(open))?;
    let place = Place {
        seq: open,
        prev: Sha256::digest(&last).into(),
        tree,
    };
    Ok((place, Some(last)))
}

/// The root over the first `size` lines, all of them in closed segments.
fn root_at(disk: &impl Read, open: u64, size: u64) -> Result<Hash, RecoverError> {
    let mut files = Files::new(disk);
    let fetch = |level, index, width| hashes(&mut files, level, index, width);
    Ok(proof::root(0, size, &mut Tiles::new(open, fetch))?)
}

fn same_root(root: Hash, head: &Head) -> Result<(), RecoverError> {
    if root == head.root {
        Ok(())
    } else {
        Err(RecoverError::Changed(head.size))
    }
}

/// Takes in every line of `bytes` that follows the one before it; `roots` loses the heads that were reached.
fn walk(bytes: &[u8], end: &mut End, roots: &mut Vec<Head>) -> Result<(), RecoverError> {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(whole) = line.strip_suffix(b"\n").filter(|line| follows(line, &end.place)) else {
            return Ok(());
        };
        end.place.tree.push(leaf(whole), &mut end.tiles);
        end.place.seq += 1;
        end.place.prev = Sha256::digest(whole).into();
        end.durable += line.len() as u64;
        end.last = Some(whole.into());
        if let Some(head) = roots.pop_if(|head| head.size == end.place.seq) {
            same_root(end.place.tree.root(), &head)?;
        }
        if end.place.seq == end.open + SEGMENT {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether a line claims this place. Its signature is for whoever verifies.
fn follows(line: &[u8], place: &Place) -> bool {
    let Ok(record) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return false;
    };
    record.get("seq").and_then(Value::as_u64) == Some(place.seq)
        && record.get("prev").and_then(Value::as_str) == Some(hex(&place.prev).as_str())
}

/// Moves what follows the last good line to a file of its own, durable before it is cut off.
fn set_aside<D: Disk>(disk: &mut D, torn: &[u8], end: &End) -> io::Result<Torn> {
    let sha256 = hex(&Sha256::digest(torn));
    let name = format!(
        "torn-at-{}-{}",
        end.place.seq,
        sha256.get(..8).unwrap_or_default()
    );
    disk.write(&name, torn)?;
    disk.sync(&name)?;
    disk.sync_dir("")?;
    disk.truncate(&segment(end.open), end.durable)?;
    disk.sync(&segment(end.open))?;
    Ok(Torn {
        bytes: torn.len() as u64,
        file: name,
        sha256,
    })
}
