use super::verify::{LogCheck, Report};
use super::*;
use crate::record::inference::Inference;
use crate::record::{AgentStart, AgentStop, Heartbeat};
use proptest::prelude::*;
use std::fs;

pub const NOW: u64 = 1_790_000_000_000_000_000;

pub fn key() -> LogKey {
    LogKey::new("test.example/log", &[7; 32])
}

pub fn epochs() -> Epochs {
    Epochs::new("test.example/log", 1, [5; 32].into())
}

fn chain() -> Chain {
    Chain::new(key(), epochs())
}

pub fn bodies(count: usize) -> Vec<Body> {
    (0..count)
        .map(|number| match number % 3 {
            0 => Body::AgentStart(AgentStart {
                host: format!("h{number} \u{1f600}\n\"\u{7f}\\"),
                ..AgentStart::default()
            }),
            1 => Body::Heartbeat(Heartbeat {
                counters: BTreeMap::from([("records".into(), number as u64)]),
                ..Heartbeat::default()
            }),
            _ => Body::Gap(Gap {
                place: "ring_buffer".into(),
                ..Gap::default()
            }),
        })
        .collect()
}

/// `count` lines; the first hands over to the first epoch's key.
fn log(count: usize) -> Vec<Vec<u8>> {
    let (mut chain, mut lines) = (chain(), Vec::new());
    bodies(count - 1)
        .iter()
        .for_each(|body| chain.sign(body, NOW, &mut lines));
    lines.into_iter().map(|line| line.bytes).collect()
}

fn check(lines: &[Vec<u8>]) -> Report {
    let mut check = LogCheck::new(key().verifier());
    for line in lines {
        check.line(line);
    }
    check.finish()
}

/// Signatures are checked many at a time, and the first false one is named all the same.
#[test]
fn a_false_signature_is_named_by_its_own_line_wherever_it_is() {
    let lines = log(300);
    let signature_of = |line: &[u8]| {
        let text = String::from_utf8(line.to_vec()).unwrap();
        text.split("\"signature\":\"").nth(1).unwrap()[..88].to_owned()
    };
    for at in [0, 1, 2, 100, 128, 129, 130, 299] {
        let mut forged = lines.clone();
        let other = signature_of(&lines[(at + 3) % 300]);
        let text = String::from_utf8(forged[at].clone()).unwrap();
        forged[at] = text.replace(&signature_of(&lines[at]), &other).into_bytes();
        // The line behind it does not follow it any more, and is not what is named.
        let report = check(&forged);
        assert_eq!(
            report.fault.map(|fault| (fault.seq, fault.line)),
            Some((at as u64, at as u64 + 1))
        );
        assert_eq!(report.records, at as u64);
    }
}

#[test]
fn an_intact_log_passes_with_its_gaps_listed() {
    let report = check(&log(10));
    assert_eq!((report.fault, report.records), (None, 10));
    assert_eq!(report.gaps, BTreeMap::from([("ring_buffer".into(), 3)]));
}

#[test]
fn lines_are_canonical_by_another_implementation() {
    for line in log(6) {
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), line);
    }
}

#[test]
fn the_same_bodies_give_the_same_bytes() {
    assert_eq!(log(5), log(5));
}

#[test]
fn removed_repeated_and_swapped_lines_are_named() {
    let whole = log(8);
    for at in 0..7 {
        let mut removed = whole.clone();
        removed.remove(at);
        assert_eq!(check(&removed).fault.unwrap().seq, at as u64, "removed {at}");
        let mut repeated = whole.clone();
        repeated.insert(at, whole[at].clone());
        assert_eq!(
            check(&repeated).fault.unwrap().seq,
            at as u64 + 1,
            "repeated {at}"
        );
        let mut swapped = whole.clone();
        swapped.swap(at, at + 1);
        assert_eq!(check(&swapped).fault.unwrap().seq, at as u64, "swapped {at}");
    }
}

#[test]
fn another_key_is_another_log() {
    let mut check = LogCheck::new(LogKey::new("test.example/log", &[8; 32]).verifier());
    check.line(&log(2)[0]);
    assert_eq!(check.finish().fault.unwrap().reason, "of another log or key");
}

#[test]
fn spaces_and_duplicate_keys_are_not_canonical() {
    let line = String::from_utf8(log(2).remove(0)).unwrap();
    for changed in [
        line.replace("\"epoch\":0", "\"epoch\": 0"),
        line.replace("\"epoch\":0", "\"epoch\":0,\"epoch\":0"),
    ] {
        assert_eq!(
            check(&[changed.into_bytes()]).fault.unwrap().reason,
            "not in canonical form"
        );
    }
}

#[test]
fn an_oversized_record_is_shrunk_and_says_so() {
    let inference = Inference {
        effective_params: (0..2000).map(|n| (format!("p{n}"), "x".repeat(100))).collect(),
        ..Default::default()
    };
    let mut lines = Vec::new();
    chain().sign(&Body::Inference(Box::new(inference)), NOW, &mut lines);
    let line = lines.remove(1);
    assert!(line.bytes.len() < limits::RECORD_BYTES);
    assert!(String::from_utf8(line.bytes).unwrap().contains("record_over_cap"));
}

/// A bundle has no room for an entry of more than 65,535 bytes (C2SP tlog-tiles), and what is on the wire may be written six times
/// as long as it was.
#[test]
fn no_record_is_longer_than_a_bundle_takes() {
    let longest = || "\u{1}".repeat(limits::RECORD_STRING_BYTES);
    let mut inference = Inference::default();
    inference.endpoint.path = longest();
    for text in [
        &mut inference.model_requested,
        &mut inference.model,
        &mut inference.adapter,
        &mut inference.conversation_id,
        &mut inference.previous_response_id,
        &mut inference.user_agent,
        &mut inference.request_id,
        &mut inference.traceparent,
        &mut inference.api_version,
        &mut inference.error_message,
        &mut inference.response_id,
        &mut inference.system_fingerprint,
    ] {
        *text = Some(longest());
    }
    let mut lines = Vec::new();
    chain().sign(&Body::Inference(Box::new(inference)), NOW, &mut lines);
    let line = lines.remove(1);
    assert!(line.bytes.len() < limits::RECORD_BYTES, "{}", line.bytes.len());
    let record: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
    assert_eq!(record["capture"]["notes"][0], "record_over_cap");
}

#[test]
fn an_inventory_of_many_models_keeps_the_first_ones() {
    use crate::record::served::{Inventory, ServedModel};
    let model = |number: usize| ServedModel {
        name: format!("m{number}"),
        path: Some("\u{1}".repeat(limits::RECORD_STRING_BYTES)),
        ..ServedModel::default()
    };
    let inventory = Inventory {
        models: (0..limits::INVENTORY_MODELS).map(model).collect(),
        ..Inventory::default()
    };
    let mut lines = Vec::new();
    chain().sign(&Body::Inventory(Box::new(inventory)), NOW, &mut lines);
    let line = lines.remove(1);
    assert!(line.bytes.len() < limits::RECORD_BYTES);
    let record: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
    assert_eq!(
        (&record["models"][0]["name"], &record["truncated"]),
        (&"m0".into(), &true.into())
    );
}

#[test]
fn verifier_keys_are_read_back() {
    // A key of the C2SP documents, with its published id.
    let published = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(keys::Verifier::parse(published).unwrap().to_string(), published);
    assert!(
        keys::Verifier::parse("PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").is_err()
    );
}

/// The keys that `dir` has, which outlive the log beside them.
pub fn keys_in(dir: &Path) -> Keys {
    Keys::load_or_create(&dir.join("keys"), "test.example/log").unwrap()
}

pub fn open(dir: &Path) -> Result<(Ledger, Vec<Line>), LogError> {
    Ledger::open(&dir.join("log"), keys_in(dir), NOW)
}

fn segment_path(dir: &Path) -> PathBuf {
    dir.join("log").join(store::segment(0))
}

pub fn write_log(dir: &Path, stop: bool) -> Vec<u8> {
    let (mut ledger, _) = open(dir).unwrap();
    for body in bodies(4) {
        assert!(!ledger.submit(&body, NOW).is_empty());
    }
    if stop {
        ledger.submit(&Body::AgentStop(AgentStop::default()), NOW);
    }
    ledger.settle().unwrap();
    fs::read(segment_path(dir)).unwrap()
}

pub fn lines_of(dir: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(segment_path(dir)).unwrap();
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

pub fn check_dir(dir: &Path) -> Report {
    let mut check = LogCheck::new(keys_in(dir).log.verifier());
    for line in lines_of(dir) {
        check.line(&line);
    }
    check.finish()
}

#[test]
fn goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let (mut ledger, first) = open(dir.path()).unwrap();
    assert!(first.is_empty(), "a clean stop needs no word");
    assert_eq!(ledger.submit(&bodies(1)[0], NOW)[0].seq, 6);
    ledger.commit(NOW).unwrap();
    assert_eq!(check_dir(dir.path()).fault, None);
}

/// What a server wrote is in records, and a log that cannot be read back is not gone on with.
#[test]
fn goes_on_behind_a_record_with_any_names() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), false);
    let names = ["$serde_json::private::RawValue", "a", "\u{7f}\"\\"];
    let body = Body::Inference(Box::new(Inference {
        effective_params: names.map(|name| (name.to_owned(), "1".into())).into(),
        ..Inference::default()
    }));
    let (mut ledger, _) = open(dir.path()).unwrap();
    assert_eq!(ledger.submit(&body, NOW).len(), 1);
    ledger.close(NOW).unwrap();
    drop(ledger);
    let (mut ledger, first) = open(dir.path()).unwrap();
    assert_eq!(
        first.len(),
        2,
        "the epoch's end, and a word on the stop that is missing"
    );
    ledger.close(NOW).unwrap();
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn a_file_cut_anywhere_continues_with_a_signed_word() {
    let dir = tempfile::tempdir().unwrap();
    let whole = write_log(dir.path(), false);
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let secret = fs::read(dir.path().join("keys/epoch-1.key")).unwrap();
    for keep in ends[ends.len() - 3]..=whole.len() {
        fs::write(segment_path(dir.path()), &whole[..keep]).unwrap();
        let _ = fs::remove_file(dir.path().join("log/checkpoint"));
        fs::write(dir.path().join("keys/epoch-1.key"), &secret).unwrap();
        let _ = fs::remove_file(dir.path().join("keys/epoch-2.key"));
        let (mut ledger, first) = open(dir.path()).unwrap();
        ledger.commit(NOW).unwrap();
        drop(ledger);
        let torn = whole[..keep].last() != Some(&b'\n');
        assert_eq!(first.len(), if torn { 3 } else { 2 }, "cut at {keep}");
        let report = check_dir(dir.path());
        assert_eq!(report.fault, None, "cut at {keep}");
        assert_eq!(
            (report.by_type.contains_key("recovery"), report.gaps["agent_down"]),
            (torn, 1)
        );
    }
}

#[test]
fn a_log_that_is_shorter_than_its_checkpoint_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), false);
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.close(NOW).unwrap();
    drop(ledger);
    let lines = lines_of(dir.path());
    let cut = [lines[..lines.len() - 1].join(&b'\n'), b"\n".to_vec()].concat();
    fs::write(segment_path(dir.path()), &cut).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Damaged {
                reason: RecoverError::Cut { signed: 7, found: 6 },
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("move the directory away"), "{error}");
    assert_eq!(
        fs::read(segment_path(dir.path())).unwrap(),
        cut,
        "evidence is left alone"
    );
    fs::rename(dir.path().join("log"), dir.path().join("evidence")).unwrap();
    let (_, said) = open(dir.path()).unwrap();
    let word = String::from_utf8_lossy(&said[1].bytes).into_owned();
    assert!(word.contains(&begun::hash(&lines[0])), "{word}");
}

#[test]
fn two_agents_do_not_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Locked(_))));
}

#[test]
fn a_log_of_another_key_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let before = write_log(dir.path(), true);
    fs::remove_dir_all(dir.path().join("keys")).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Foreign { .. })));
    assert_eq!(fs::read(segment_path(dir.path())).unwrap(), before);
}

#[test]
fn a_full_queue_refuses_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path()).unwrap();
    let body = &bodies(2)[1];
    while !ledger.submit(body, NOW).is_empty() {}
    assert!(ledger.submit(body, NOW).is_empty());
    let gap = ledger.commit(NOW).unwrap().pop().expect("a gap record");
    assert!(
        String::from_utf8(gap.bytes)
            .unwrap()
            .contains("\"lost\":{\"records\":2}")
    );
    drop(ledger);
    let (ledger, _) = open(dir.path()).unwrap();
    assert!(ledger.chain.seq() > 2 * store::SEGMENT, "it went over segments");
    assert_eq!(
        ledger.chain.epochs().number(),
        // The last two lines are the hand-over at this start and its word.
        2 + (ledger.chain.seq() - 4) / (epoch::RECORDS + 1)
    );
}

#[test]
fn an_epoch_ends_after_its_records_and_after_its_time_and_leaves_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.submit(&bodies(1)[0], NOW);
    ledger.commit(NOW).unwrap();
    let secret = fs::read(dir.path().join("keys/epoch-1.key")).unwrap();
    let lines = ledger.submit(&bodies(1)[0], NOW + epoch::NANOS);
    assert_eq!(lines.len(), 2, "a hand-over and the record");
    ledger.commit(NOW).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path().join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.iter().any(|path| path.ends_with("epoch-2.key")), "{left:?}");
    assert!(
        left.iter().all(|path| fs::read(path).unwrap() != secret),
        "{left:?}"
    );
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn an_agent_that_starts_ends_the_epoch_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let secret = dir.path().join("keys/epoch-1.key");
    assert!(secret.exists());
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.submit(&bodies(1)[0], NOW);
    ledger.commit(NOW).unwrap();
    assert_eq!(ledger.chain.epochs().number(), 2);
    assert!(!secret.exists(), "it could sign records of the run before");
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn keys_are_made_once_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let first = Keys::load_or_create(&keys, "a.example/log").unwrap();
    let again = Keys::load_or_create(&keys, "other name").unwrap();
    assert_eq!(first.log.verifier(), again.log.verifier());
    for name in ["log.key", "hash.key", "epoch-1.key"] {
        let mode = fs::metadata(keys.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    fs::set_permissions(keys.join("log.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Keys::load_or_create(&keys, "x").unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

proptest! {
    #[test]
    fn any_flipped_bit_is_named(line in 0usize..6, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut lines = log(6);
        let at = at.index(lines[line].len());
        lines[line][at] ^= 1 << bit;
        prop_assert_eq!(check(&lines).fault.unwrap().seq, line as u64);
    }

    #[test]
    fn hostile_lines_do_no_harm(bytes in any::<Vec<u8>>()) {
        prop_assert!(check(&[bytes]).fault.is_some());
    }
}
