//! How long records stay, and how many: whole segments go, oldest first, under a signed record that says so before they do.
//!
//! In: the segments and the time. Out: which lines may go, and their deletion. Tiles stay, so every proof of what is left,
//! and the root over everything, still holds. Epoch and retention records are copied to `kept.jsonl` first: without them
//! the keys of what is left could not be traced.

use super::cadence::unix_ns;
use super::disk::Disk;
use super::line::claim;
use super::source::Files;
use super::store::{KEPT, RECORDS, SEGMENT, segment, segments};
use crate::record::Retention;
use std::io;

/// 184 days are the longest six months there are (AI Act, articles 19 and 26(6)).
pub const DAYS: u64 = 184;
const DAY_NS: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Files that one record names; what more is due follows in the next.
const FILES: usize = 256;

/// What the operator wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keep {
    pub ns: u64,
    /// Of all segments together; zero is no limit.
    pub bytes: u64,
    /// Nothing goes, however old.
    pub hold: bool,
}

impl Keep {
    pub fn days(days: u64, hold: bool) -> Self {
        let ns = days.saturating_mul(DAY_NS);
        Self { ns, bytes: 0, hold }
    }
}

/// Segments that may go, oldest first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Due {
    /// The first line that stays.
    pub retired_before: u64,
    pub files: Vec<String>,
    pub bytes: u64,
    /// `age`, `size`.
    pub reason: &'static str,
}

impl Due {
    fn new(segments: &[(u64, u64)], reason: &'static str) -> Option<Self> {
        let segments = segments.iter().take(FILES);
        Some(Self {
            retired_before: segments.clone().next_back()?.0 + SEGMENT,
            files: segments.clone().map(|(first, _)| segment(*first)).collect(),
            bytes: segments.map(|(_, bytes)| bytes).sum(),
            reason,
        })
    }

    pub fn record(&self) -> Retention {
        Retention {
            bytes: self.bytes,
            files: self.files.clone(),
            place: "log".into(),
            reason: self.reason.into(),
            retired_before: Some(self.retired_before),
        }
    }
}

/// What is to go at `now`, for its age before its size; None when nothing is. The last two segments always stay: the next
/// line follows from them.
pub fn due(disk: &impl Disk, keep: Keep, now_unix_ns: u64) -> io::Result<Option<Due>> {
    if keep.hold {
        return Ok(None);
    }
    let sized = |first: u64| Ok((first, disk.size(&segment(first))?.unwrap_or_default()));
    let there = segments(disk)?.into_iter().map(sized);
    let there = there.collect::<io::Result<Vec<(u64, u64)>>>()?;
    let may_go = there.get(..there.len().saturating_sub(2)).unwrap_or_default();
    let old = may_go.get(..old(disk, may_go, keep, now_unix_ns)?);
    let total: u64 = there.iter().map(|(_, bytes)| bytes).sum();
    let large = may_go.get(..large(may_go, keep, total));
    let due = |segments: Option<&[(u64, u64)]>, reason| Due::new(segments.unwrap_or_default(), reason);
    Ok(due(old, "age").or_else(|| due(large, "size")))
}

/// How many of the first segments are over their time.
fn old(disk: &impl Disk, segments: &[(u64, u64)], keep: Keep, now_unix_ns: u64) -> io::Result<usize> {
    let mut files = Files::new(disk);
    for (at, (first, _)) in segments.iter().enumerate() {
        let last = files.line(first + SEGMENT - 1)?;
        let time = last
            .and_then(|line| claim(&line).ok())
            .and_then(|claim| unix_ns(&claim.time));
        // What has no time cannot be known to be old.
        if at >= FILES || time.is_none_or(|time| time.saturating_add(keep.ns) > now_unix_ns) {
            return Ok(at);
        }
    }
    Ok(segments.len())
}

/// How many of the first segments have to go so that `total` comes within its limit.
fn large(segments: &[(u64, u64)], keep: Keep, total: u64) -> usize {
    let mut over = match keep.bytes {
        0 => 0,
        bytes => total.saturating_sub(bytes),
    };
    let gone = segments.iter().take_while(|(_, bytes)| {
        let goes = over > 0;
        over = over.saturating_sub(*bytes);
        goes
    });
    gone.count()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::disk::DirDisk;
    use proptest::prelude::*;
    use std::fs;

    const KIB: u64 = 1024;

    /// A log whose segments are so long; what is in them has no time.
    fn log(sizes: &[u64]) -> (tempfile::TempDir, DirDisk) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(RECORDS)).unwrap();
        for (first, size) in (0..).step_by(SEGMENT as usize).zip(sizes) {
            fs::write(dir.path().join(segment(first)), vec![b' '; *size as usize]).unwrap();
        }
        let disk = DirDisk::new(dir.path());
        (dir, disk)
    }

    fn within(bytes: u64) -> Keep {
        Keep {
            bytes,
            ..Keep::days(DAYS, false)
        }
    }

    #[test]
    fn the_oldest_segments_go_until_the_rest_has_room() {
        let (_dir, disk) = log(&[KIB; 5]);
        let due = |keep| due(&disk, keep, u64::MAX).unwrap();
        assert_eq!(due(within(0)), None, "no limit");
        assert_eq!(due(within(5 * KIB)), None);
        let one = due(within(5 * KIB - 1)).unwrap();
        assert_eq!(
            (one.retired_before, one.bytes, one.reason),
            (SEGMENT, KIB, "size")
        );
        assert_eq!(one.files, [segment(0)]);
        let all = due(within(1)).unwrap();
        assert_eq!(
            (all.retired_before, all.bytes),
            (3 * SEGMENT, 3 * KIB),
            "the last two stay"
        );
        let held = Keep {
            hold: true,
            ..within(1)
        };
        assert_eq!(due(held), None, "on hold");
    }

    #[test]
    fn the_record_says_what_is_free_when_they_are_gone() {
        let (_dir, mut disk) = log(&[KIB, 2 * KIB, KIB, KIB]);
        let record = due(&disk, within(1), 0).unwrap().unwrap().record();
        let freed = retire(&mut disk, record.retired_before.unwrap()).unwrap();
        assert_eq!((record.bytes, record.files.len()), (freed, 2));
        assert_eq!(segments(&disk).unwrap().len(), 2);
        assert_eq!(due(&disk, within(1), 0).unwrap(), None);
    }

    #[test]
    fn one_record_names_so_many_files_and_the_next_the_rest() {
        let (_dir, disk) = log(&vec![1; FILES + 12]);
        let due = due(&disk, within(1), 0).unwrap().unwrap();
        assert_eq!((due.files.len(), due.bytes), (FILES, FILES as u64));
        assert!(due.record().files.concat().len() < crate::limits::RECORD_BYTES / 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_more_goes_than_has_to(sizes in prop::collection::vec(0u64..2000, 0..9), bytes in 1u64..9000) {
            let (_dir, disk) = log(&sizes);
            let total: u64 = sizes.iter().sum();
            match due(&disk, within(bytes), 0).unwrap() {
                None => prop_assert!(total <= bytes || sizes.len() <= 2),
                Some(due) => {
                    let last = sizes[due.files.len() - 1];
                    prop_assert!(total - due.bytes + last > bytes);
                    prop_assert!(total - due.bytes <= bytes || due.files.len() == sizes.len() - 2);
                }
            }
        }
    }
}
