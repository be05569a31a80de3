//! The tamper suite: each attack of the threat table in `docs/ledger.md`, with the verdict that it promises.

mod asked;
mod retention;

use super::*;
use crate::ledger::chain::{Chain, Line};
use crate::ledger::disk::{DirDisk, Disk};
use crate::ledger::epoch::{self, Epochs};
use crate::ledger::keys::LogKey;
use crate::ledger::merkle::tile::Tile;
use crate::ledger::proof_file::ProofFile;
use crate::ledger::source::Files;
use crate::ledger::store::{SEGMENT, segment};
use crate::record::{Body, Gap, Heartbeat};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const NAME: &str = "test.example/log";
const NOW: u64 = 1_790_000_000_000_000_000;

fn log_key() -> LogKey {
    LogKey::new(NAME, &[7; 32])
}

/// A log in memory, of heartbeats; `gap` is where one says that something was not recorded.
struct Made {
    lines: Vec<Line>,
    tiles: Vec<Tile>,
    /// Checkpoints by size.
    notes: BTreeMap<u64, String>,
}

fn made(count: u64, secret: u8, gap: Option<u64>) -> Made {
    let mut chain = Chain::new(log_key(), Epochs::new(NAME, 1, [secret; 32].into()));
    let (mut lines, mut notes) = (Vec::new(), BTreeMap::new());
    let mut unix_ns = NOW;
    while chain.seq() < count {
        // One epoch of time for every thousand records: several epochs in a short log.
        unix_ns += epoch::NANOS / 1000 + 1;
        let body = if gap == Some(chain.seq()) {
            Body::Gap(Gap {
                place: "ring_buffer".into(),
                ..Gap::default()
            })
        } else {
            Body::Heartbeat(Heartbeat::default())
        };
        chain.sign(&body, unix_ns, &mut lines);
        notes.insert(chain.seq(), chain.checkpoint().to_string());
    }
    Made {
        lines,
        tiles: chain.take_full(),
        notes,
    }
}

impl Made {
    fn size(&self) -> u64 {
        self.lines.len() as u64
    }

    fn last_note(&self) -> &str {
        self.notes.values().next_back().unwrap()
    }

    /// Writes it the way an agent leaves it.
    fn write(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let mut disk = DirDisk::new(dir.path());
        disk.make_dir("records").unwrap();
        for chunk in self.lines.chunks(usize::try_from(SEGMENT).unwrap()) {
            fs::write(path(&dir, chunk[0].seq), joined(chunk)).unwrap();
        }
        for tile in &self.tiles {
            if (tile.index + 1) * 256_u64.pow(u32::from(tile.level) + 1) <= self.size() / SEGMENT * SEGMENT {
                disk.make_dir(crate::ledger::disk::parent(&tile.path())).unwrap();
                disk.write(&tile.path(), &tile.bytes()).unwrap();
            }
        }
        fs::write(dir.path().join("checkpoint"), self.last_note()).unwrap();
        dir
    }
}

fn joined(lines: &[Line]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.bytes.as_slice(), b"\n"].concat())
        .collect()
}

fn path(dir: &TempDir, first: u64) -> PathBuf {
    dir.path().join(segment(first))
}

fn asked() -> Asked {
    Asked {
        key: log_key().verifier(),
        policy: Policy::default(),
        kept: Vec::new(),
        first_line: None,
        newest_since: None,
    }
}

fn kept(note: &str) -> (Head, Note) {
    let (checkpoint, note) = Checkpoint::open(note, &log_key().verifier()).unwrap();
    (checkpoint.head, note)
}

fn check(dir: &Path, asked: &Asked) -> Finding {
    audit(&mut Files::new(DirDisk::new(dir)), asked, &mut |_, _| {})
}

fn verdict(dir: &TempDir) -> (Verdict, Option<u64>) {
    let finding = check(dir.path(), &asked());
    (finding.verdict, finding.first_bad_seq)
}

/// Rewrites one segment, line by line.
fn edit(dir: &TempDir, first: u64, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let bytes = fs::read(path(dir, first)).unwrap();
    let mut lines: Vec<Vec<u8>> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    change(&mut lines);
    fs::write(path(dir, first), lines.concat()).unwrap();
}

#[test]
fn an_intact_log_is_intact_over_segments_and_epochs() {
    let made = made(SEGMENT + 300, 1, None);
    let finding = check(made.write().path(), &asked());
    assert_eq!((finding.verdict, finding.reason.as_str()), (Verdict::Intact, ""));
    assert_eq!(
        (finding.signed, finding.unsigned, finding.log.records),
        (made.size(), 0, made.size())
    );
    assert!(finding.log.by_type["epoch"] > 3, "{:?}", finding.log.by_type);
}

#[test]
fn declared_gaps_have_a_verdict_of_their_own() {
    assert_eq!(
        verdict(&made(20, 1, Some(10)).write()),
        (Verdict::IntactWithGaps, None)
    );
}

#[test]
fn edited_deleted_swapped_and_repeated_records_are_named_by_number() {
    let made = made(1500, 1, None);
    for at in [1_usize, 700, 1499] {
        let dir = made.write();
        edit(&dir, 0, |lines| {
            let middle = lines[at].len() / 2;
            lines[at][middle] ^= 1;
        });
        assert_eq!(verdict(&dir), (Verdict::Tampered, Some(at as u64)), "edited");
        if at < 1499 {
            let dir = made.write();
            edit(&dir, 0, |lines| drop(lines.remove(at)));
            assert_eq!(verdict(&dir), (Verdict::Tampered, Some(at as u64)), "deleted");
            let dir = made.write();
            edit(&dir, 0, |lines| lines.swap(at, at + 1));
            assert_eq!(verdict(&dir), (Verdict::Tampered, Some(at as u64)), "swapped");
            let dir = made.write();
            edit(&dir, 0, |lines| lines.insert(at, lines[at].clone()));
            assert_eq!(
                verdict(&dir),
                (Verdict::Tampered, Some(at as u64 + 1)),
                "repeated"
            );
        }
    }
}

/// immudb#2063: what is checked is the content, not only what was once computed of it.
#[test]
fn a_record_that_was_edited_under_intact_tiles_is_found() {
    let made = made(SEGMENT + 10, 1, None);
    let dir = made.write();
    edit(&dir, 0, |lines| lines[300][40] ^= 2);
    assert_eq!(verdict(&dir), (Verdict::Tampered, Some(300)));
}

#[test]
fn tiles_that_were_edited_do_not_hide_or_make_a_fault() {
    let made = made(SEGMENT + 10, 1, None);
    let dir = made.write();
    fs::write(dir.path().join("tile/0/003"), [9; 8192]).unwrap();
    assert_eq!(verdict(&dir).0, Verdict::Intact, "the lines are what counts");
}

#[test]
fn a_cut_end_is_truncation_at_every_place() {
    let made = made(2100, 1, None);
    // In the middle of an epoch, behind a hand-over, and whole bundles.
    let hand_over = (1..2100)
        .rev()
        .find(|at| String::from_utf8_lossy(&made.lines[*at].bytes).contains("next_key"));
    for keep in [2099, 1900, hand_over.unwrap() + 1, 1792, 256, 1] {
        let dir = made.write();
        edit(&dir, 0, |lines| lines.truncate(keep));
        assert_eq!(
            verdict(&dir),
            (Verdict::Truncated, Some(keep as u64)),
            "{keep} records kept"
        );
    }
}

/// CVE-2023-31438 of journald's sealing: cut, and gone on with as if nothing were missing.
/// The log's key is on the host: a whole new log can be made, with another first line.
/// CVE-2023-31439: a record of an older epoch, sealed again with the newest key, or with the log's.
#[test]
fn records_signed_in_another_epoch_are_refused() {
    let made = made(2500, 1, None);
    let record = |at: usize| serde_json::from_slice::<serde_json::Value>(&made.lines[at].bytes).unwrap();
    let newest = record(2499)["epoch"].as_u64().unwrap();
    assert!(newest > record(500)["epoch"].as_u64().unwrap() + 1);
    let mut epochs = Epochs::new(NAME, 1, [1; 32].into());
    (1..newest).for_each(|_| epochs.advance());
    for (key, number) in [(epochs.key(), newest), (log_key(), 0)] {
        let mut forged = record(500);
        forged["epoch"] = number.into();
        forged["key_id"] = key.id_hex().into();
        forged.as_object_mut().unwrap().remove("signature");
        let message = [
            crate::ledger::chain::SIGNING_CONTEXT,
            &serde_json::to_vec(&forged).unwrap(),
        ]
        .concat();
        let signature =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.sign(&message));
        forged["signature"] = signature.into();
        let dir = made.write();
        edit(&dir, 0, |lines| {
            lines[500] = [serde_json::to_vec(&forged).unwrap(), b"\n".to_vec()].concat()
        });
        assert_eq!(verdict(&dir), (Verdict::Tampered, Some(500)));
    }
}

/// systemd#15425: what was never signed does not pass.
#[test]
fn a_record_without_a_signature_and_a_log_without_a_checkpoint_do_not_pass() {
    let made = made(30, 1, None);
    let dir = made.write();
    edit(&dir, 0, |lines| {
        let mut record: serde_json::Value = serde_json::from_slice(&lines[20]).unwrap();
        record.as_object_mut().unwrap().remove("signature");
        lines[20] = [serde_json::to_vec(&record).unwrap(), b"\n".to_vec()].concat();
    });
    assert_eq!(verdict(&dir), (Verdict::Tampered, Some(20)));
    let dir = made.write();
    fs::remove_file(dir.path().join("checkpoint")).unwrap();
    assert_eq!(verdict(&dir).0, Verdict::UnverifiedTail);
}

/// systemd#11524: a wrong key is a result of its own.
#[test]
fn a_wrong_key_is_not_tampering() {
    let dir = made(30, 1, None).write();
    for key in [
        LogKey::new(NAME, &[8; 32]),
        LogKey::new("other.example/log", &[7; 32]),
    ] {
        let asked = Asked {
            key: key.verifier(),
            ..asked()
        };
        assert_eq!(check(dir.path(), &asked).verdict, Verdict::WrongKey);
    }
}

/// aws-cli#7054: files that are gone are missed, also two beside each other.
#[test]
fn deleted_segments_are_missed() {
    let made = made(4 * SEGMENT + 10, 1, None);
    for gone in [vec![1], vec![1, 2], vec![0], vec![0, 1, 2]] {
        let dir = made.write();
        gone.iter()
            .for_each(|segment| fs::remove_file(path(&dir, segment * SEGMENT)).unwrap());
        let finding = check(dir.path(), &asked());
        assert_eq!(finding.verdict, Verdict::Tampered, "{gone:?}: {finding:?}");
    }
    let dir = made.write();
    [3, 4]
        .iter()
        .for_each(|segment| fs::remove_file(path(&dir, segment * SEGMENT)).unwrap());
    assert_eq!(verdict(&dir), (Verdict::Truncated, Some(3 * SEGMENT)));
}

/// aws-cli#4250: nothing to check ends at once.
#[test]
fn an_empty_or_missing_log_is_unreadable() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(check(dir.path(), &asked()).verdict, Verdict::Unreadable);
    assert_eq!(
        check(&dir.path().join("nowhere"), &asked()).verdict,
        Verdict::Unreadable
    );
}

#[test]
fn records_behind_the_checkpoint_and_torn_ones_are_not_vouched_for() {
    let made = made(30, 1, None);
    let dir = made.write();
    fs::write(dir.path().join("checkpoint"), &made.notes[&25]).unwrap();
    let finding = check(dir.path(), &asked());
    assert_eq!((finding.verdict, finding.unsigned), (Verdict::UnverifiedTail, 5));
    let dir = made.write();
    edit(&dir, 0, |lines| lines.push(b"{\"half".to_vec()));
    let finding = check(dir.path(), &asked());
    assert_eq!((finding.verdict, finding.torn), (Verdict::UnverifiedTail, true));
}

#[test]
fn a_changed_checkpoint_is_tampering() {
    let made = made(30, 1, None);
    let dir = made.write();
    let note = made.last_note().replace("\n30\n", "\n29\n");
    fs::write(dir.path().join("checkpoint"), note).unwrap();
    assert_eq!(verdict(&dir).0, Verdict::Tampered);
}

#[test]
fn every_record_can_be_proved_alone() {
    let made = made(SEGMENT + 300, 1, None);
    let dir = made.write();
    let mut files = Files::new(DirDisk::new(dir.path()));
    for at in [0, 1, 255, 256, SEGMENT - 1, SEGMENT, SEGMENT + 299] {
        let proof = ProofFile::make(&mut files, at, made.size(), made.last_note()).unwrap();
        let text = proof.to_string();
        assert_eq!(ProofFile::parse(&text).as_ref(), Some(&proof), "{text}");
        let line = &made.lines[usize::try_from(at).unwrap()].bytes;
        let other = &made.lines[usize::try_from((at + 1) % made.size()).unwrap()].bytes;
        let key = log_key().verifier();
        assert_eq!(proof.holds(line, &key), Ok(true));
        assert_eq!(proof.holds(other, &key), Ok(false));
        assert!(
            proof
                .holds(line, &LogKey::new(NAME, &[9; 32]).verifier())
                .is_err()
        );
    }
}
