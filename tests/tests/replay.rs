//! Captures of real servers, replayed: the same bytes as the golden logs, and logs that verify. `llama-server` is llama.cpp's
//! with curl; `wire` is what `audit-agent record` saw of the peers in `tests/wire` and `tests/tls/server.mjs`: HTTP/2, on one
//! connection that is older than the recording, gRPC and compressed WebSockets.
//!
//! `BLESS=1 cargo test -p audit-tests --test replay` writes the golden file anew; read its difference before it is committed.

use audit_agent::capture::file::Reader;
use audit_agent::ledger::chain::Chain;
use audit_agent::ledger::epoch::Epochs;
use audit_agent::ledger::keys::LogKey;
use audit_agent::ledger::verify::LogCheck;
use audit_agent::pipeline::{Options, Output, Pipeline};
use audit_agent::record::hash::{Algorithm, Hasher};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn key() -> LogKey {
    LogKey::new("test.example/log", &[7; 32])
}

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(path)
}

/// The signed lines of a capture.
fn replay(capture: &[u8]) -> Vec<Vec<u8>> {
    let mut pipeline = Pipeline::new(Options {
        content: Default::default(),
        filter: Default::default(),
        hasher: Hasher::new([9; 32].into(), Algorithm::Sha256),
        heartbeat_ns: 60_000_000_000,
        verifier_key: key().verifier().to_string(),
    });
    let epochs = Epochs::new("test.example/log", 1, [5; 32].into());
    let mut chain = Chain::new(key(), epochs);
    let mut reader = Reader::new(capture).expect("a capture file");
    let (mut outputs, mut lines) = (Vec::new(), Vec::new());
    while let Some(input) = reader.next_input().expect("an intact capture") {
        pipeline.feed(input, &mut outputs);
        for output in outputs.drain(..) {
            if let Output::Record { body, unix_ns } = output {
                chain.sign(&body, unix_ns, &mut lines);
            }
        }
    }
    lines.into_iter().map(|line| line.bytes).collect()
}

fn capture_of(name: &str) -> Vec<u8> {
    std::fs::read(data(&format!("captures/{name}.acap"))).expect("the capture is in the repository")
}

fn capture() -> Vec<u8> {
    capture_of("llama-server")
}

#[test]
fn a_real_capture_gives_the_golden_log() {
    gives_the_golden_log("llama-server");
}

#[test]
fn a_capture_of_http2_grpc_and_websockets_gives_the_golden_log() {
    gives_the_golden_log("wire");
}

fn gives_the_golden_log(name: &str) {
    let mut log = replay(&capture_of(name)).join(&b'\n');
    log.push(b'\n');
    let golden = data(&format!("golden/{name}.jsonl"));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &log).expect("the golden file can be written");
    }
    let expected = std::fs::read(&golden).expect("the golden file is in the repository");
    assert!(
        log == expected,
        "the records changed; if they should, run with BLESS=1 and read the difference"
    );
}

#[test]
fn the_golden_log_verifies() {
    let mut check = LogCheck::new(key().verifier());
    for line in replay(&capture()) {
        check.line(&line);
    }
    assert_eq!(check.finish().fault, None);
}

/// The records that lost no byte say the same as with all events there.
#[test]
fn a_lost_event_is_declared_and_never_invents_a_complete_record() {
    never_invents_a_record("llama-server");
}

#[test]
fn a_lost_event_of_http2_grpc_or_websockets_never_invents_a_complete_record() {
    never_invents_a_record("wire");
}

fn never_invents_a_record(name: &str) {
    let whole = capture_of(name);
    let frames = frames(&whole);
    let complete = |lines: &[Vec<u8>]| -> Vec<[Value; 5]> {
        let records = lines
            .iter()
            .map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
        // A call of a session that nobody seems to have asked for may have been begun by its server.
        let unasked = |record: &Value| record["status"] == 101 && record["request_body_hash"].is_null();
        let complete = records.filter(|record| record["capture"]["state"] == "complete" && !unasked(record));
        complete
            .map(|r| {
                [
                    r["prompt_hash"].clone(),
                    r["completion_hash"].clone(),
                    r["request_body_hash"].clone(),
                    r["response_body_hash"].clone(),
                    r["status"].clone(),
                ]
            })
            .collect()
    };
    let expected = complete(&replay(&whole));
    let mut cost_a_record = 0;
    for lost in frames
        .iter()
        .filter(|(_, frame)| is_data(frame))
        .map(|(at, _)| *at)
    {
        let mut part = whole[..16].to_vec();
        frames
            .iter()
            .filter(|(at, _)| *at != lost)
            .for_each(|(_, frame)| part.extend_from_slice(frame));
        let found = complete(&replay(&part));
        let invented: Vec<_> = found.iter().filter(|record| !expected.contains(record)).collect();
        assert!(invented.is_empty(), "event at byte {lost}: {invented:#?}");
        cost_a_record += usize::from(found.len() < expected.len());
    }
    assert!(cost_a_record > 10, "losing events has to cost records");
}

/// Frames with their place; see `capture::file`.
fn frames(capture: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut at, mut frames) = (16, Vec::new());
    while let Some(head) = capture.get(at..at + 5) {
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        frames.push((at, &capture[at..at + 5 + len]));
        at += 5 + len;
    }
    frames
}

fn is_data(frame: &[u8]) -> bool {
    frame[0] == 1 && frame[5] == 1
}
