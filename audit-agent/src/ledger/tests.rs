use super::verify::{LogCheck, Report};
use super::*;
use crate::record::inference::Inference;
use crate::record::{AgentStart, AgentStop, Heartbeat};
use proptest::prelude::*;
use std::fs;

mod reopened;

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
