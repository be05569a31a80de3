use super::verify::{LogCheck, Report};
use super::*;
use crate::record::{AgentStart, AgentStop, Heartbeat};
use proptest::prelude::*;
use std::fs;

const NOW: u64 = 1_790_000_000_000_000_000;

fn key() -> LogKey {
    LogKey::new("test.example/log", &[7; 32])
}

fn bodies(count: usize) -> Vec<Body> {
    (0..count)
        .map(|number| match number % 3 {
            0 => Body::AgentStart(AgentStart {
                host: format!("h{number} \u{1f600}\n\"\u{7f}\\"),
                ..AgentStart::default()
            }),
            1 => Body::Heartbeat(Heartbeat {
                counters: BTreeMap::from([("records".into(), number as u64)]),
            }),
            _ => Body::Gap(Gap {
                place: "ring_buffer".into(),
                ..Gap::default()
            }),
        })
        .collect()
}

fn log(count: usize) -> Vec<Vec<u8>> {
    let mut chain = Chain::new(key());
    bodies(count)
        .iter()
        .map(|body| chain.sign(body, NOW).bytes)
        .collect()
}

fn check(lines: &[Vec<u8>]) -> Report {
    let mut check = LogCheck::new(key().verifier());
    for line in lines {
        check.line(line);
    }
    check.finish()
}

#[test]
fn an_intact_log_passes_with_its_gaps_listed() {
    let report = check(&log(9));
    assert_eq!((report.fault, report.records), (None, 9));
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
    check.line(&log(1)[0]);
    assert_eq!(check.finish().fault.unwrap().reason, "of another log or key");
}

#[test]
fn spaces_and_duplicate_keys_are_not_canonical() {
    let line = String::from_utf8(log(1).remove(0)).unwrap();
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
    let inference = crate::record::inference::Inference {
        effective_params: (0..2000).map(|n| (format!("p{n}"), "x".repeat(100))).collect(),
        ..Default::default()
    };
    let line = Chain::new(key()).sign(&Body::Inference(Box::new(inference)), NOW);
    assert!(line.bytes.len() < limits::RECORD_BYTES);
    assert!(String::from_utf8(line.bytes).unwrap().contains("record_over_cap"));
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

fn write_log(dir: &Path, stop: bool) -> Vec<u8> {
    let (mut ledger, _) = Ledger::open(dir, key(), NOW).unwrap();
    for body in bodies(4) {
        ledger.submit(&body, NOW).unwrap();
    }
    if stop {
        ledger
            .submit(&Body::AgentStop(AgentStop::default()), NOW)
            .unwrap();
    }
    ledger.commit(NOW).unwrap();
    fs::read(dir.join(file::FILE_NAME)).unwrap()
}

fn lines_of(dir: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(dir.join(file::FILE_NAME)).unwrap();
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

#[test]
fn goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let (mut ledger, first) = Ledger::open(dir.path(), key(), NOW).unwrap();
    assert!(first.is_empty(), "a clean stop needs no word");
    assert_eq!(ledger.submit(&bodies(1)[0], NOW).unwrap().seq, 5);
    ledger.commit(NOW).unwrap();
    assert_eq!(check(&lines_of(dir.path())).fault, None);
}

#[test]
fn a_file_cut_anywhere_continues_with_a_signed_word() {
    let dir = tempfile::tempdir().unwrap();
    let whole = write_log(dir.path(), false);
    let two_lines = whole
        .iter()
        .rev()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .nth(2)
        .unwrap()
        .0;
    for keep in whole.len() - two_lines..=whole.len() {
        fs::write(dir.path().join(file::FILE_NAME), &whole[..keep]).unwrap();
        let (mut ledger, first) = Ledger::open(dir.path(), key(), NOW).unwrap();
        ledger.commit(NOW).unwrap();
        drop(ledger);
        let torn = whole[..keep].last() != Some(&b'\n');
        assert_eq!(first.len(), if torn { 2 } else { 1 }, "cut at {keep}");
        let report = check(&lines_of(dir.path()));
        assert_eq!(report.fault, None, "cut at {keep}");
        assert_eq!(
            (report.by_type.contains_key("recovery"), report.gaps["agent_down"]),
            (torn, 1)
        );
    }
}

#[test]
fn two_agents_do_not_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Ledger::open(dir.path(), key(), NOW).unwrap();
    assert!(matches!(
        Ledger::open(dir.path(), key(), NOW),
        Err(LogError::Locked(_))
    ));
}

#[test]
fn a_log_of_another_key_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let before = write_log(dir.path(), true);
    let other = LogKey::new("test.example/log", &[9; 32]);
    assert!(matches!(
        Ledger::open(dir.path(), other, NOW),
        Err(LogError::Foreign { .. })
    ));
    assert_eq!(fs::read(dir.path().join(file::FILE_NAME)).unwrap(), before);
}

#[test]
fn a_full_queue_refuses_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = Ledger::open(dir.path(), key(), NOW).unwrap();
    let body = &bodies(2)[1];
    while ledger.submit(body, NOW).is_some() {}
    assert!(ledger.submit(body, NOW).is_none());
    let gap = ledger.commit(NOW).unwrap().expect("a gap record");
    assert!(
        String::from_utf8(gap.bytes)
            .unwrap()
            .contains("\"lost\":{\"records\":2}")
    );
    assert_eq!(check(&lines_of(dir.path())).fault, None);
}

#[test]
fn keys_are_made_once_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let first = keys::Keys::load_or_create(&keys, "a.example/log").unwrap();
    let again = keys::Keys::load_or_create(&keys, "other name").unwrap();
    assert_eq!(first.log.verifier(), again.log.verifier());
    assert_eq!(
        fs::metadata(keys.join("log.key")).unwrap().permissions().mode() & 0o777,
        0o600
    );
    fs::set_permissions(keys.join("log.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = keys::Keys::load_or_create(&keys, "x").unwrap_err();
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
