//! How long records stay: whole segments go, oldest first, under a signed record that says so before they do.
//!
//! In: the segments and the time. Out: which lines may go, and their deletion. Tiles stay, so every proof of what is left,
//! and the root over everything, still holds. Epoch and retention records are copied to `kept.jsonl` first: without them
//! the keys of what is left could not be traced.

use super::disk::Disk;
use super::source::Files;
use super::store::{KEPT, RECORDS, SEGMENT, segment, segments};
use super::verify::claim;
use std::io;

/// 184 days are the longest six months there are (AI Act, articles 19 and 26(6)).
pub const DAYS: u64 = 184;
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// What the operator wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keep {
    pub ns: u64,
    /// Nothing goes, however old.
    pub hold: bool,
}

impl Keep {
    pub fn days(days: u64, hold: bool) -> Self {
        let ns = days.saturating_mul(DAY_NS);
        Self { ns, hold }
    }
}

/// The first line that has to stay at `now`; None when nothing is to go. The last two segments always stay: the next line
/// follows from them.
pub fn due(disk: &impl Disk, keep: Keep, now_unix_ns: u64) -> io::Result<Option<u64>> {
    let there = segments(disk)?;
    let mut files = Files::new(disk);
    let mut before = None;
    if keep.hold {
        return Ok(None);
    }
    for first in there.iter().rev().skip(2).rev() {
        let last = files.line(first + SEGMENT - 1)?;
        let time = last
            .and_then(|line| claim(&line).ok())
            .and_then(|claim| unix_ns(&claim.time));
        // What has no time cannot be known to be old.
        if time.is_none_or(|time| time.saturating_add(keep.ns) > now_unix_ns) {
            break;
        }
        before = Some(first + SEGMENT);
    }
    Ok(before)
}

fn unix_ns(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

/// Deletes the segments before line `before`, of which a durable record says that they may go; gives the bytes that are
/// free now. After an interruption call it again.
pub fn retire(disk: &mut impl Disk, before: u64) -> io::Result<u64> {
    let gone: Vec<u64> = segments(disk)?
        .into_iter()
        .filter(|first| first + SEGMENT <= before)
        .collect();
    let mut freed = 0;
    for first in gone {
        let bytes = disk.read(&segment(first))?.unwrap_or_default();
        keep_lines(disk, &bytes)?;
        disk.remove(&segment(first))?;
        freed += bytes.len() as u64;
    }
    disk.sync_dir(RECORDS)?;
    Ok(freed)
}

/// Adds what must stay of a segment to the kept lines, durable, each once.
fn keep_lines(disk: &mut impl Disk, segment: &[u8]) -> io::Result<()> {
    let mut kept = disk.read(KEPT)?.unwrap_or_default();
    let last = kept
        .split(|byte| *byte == b'\n')
        .filter_map(|line| claim(line).ok())
        .map(|claim| claim.seq)
        .max();
    for line in segment.split(|byte| *byte == b'\n') {
        let Ok(claim) = claim(line) else { continue };
        let stays = matches!(claim.record_type.as_str(), "epoch" | "retention");
        if stays && last.is_none_or(|last| claim.seq > last) {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    disk.replace(KEPT, &kept)
}
