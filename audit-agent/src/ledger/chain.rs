//! Gives records their place: number, hash of the line before, signature.
//!
//! In: a body and its time. Out: one canonical JSON line (RFC 8785). Never: a clock, randomness, IO: the same bodies with
//! the same key give the same bytes.

use super::keys::LogKey;
use crate::limits;
use crate::record::hash::hex;
use crate::record::{Body, SCHEMA, rfc3339};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What stands before the record in the bytes that are signed.
pub const SIGNING_CONTEXT: &[u8] = b"audit-agent/record/v1\n";

/// `prev` of the first line.
pub const GENESIS: [u8; 32] = [0; 32];

/// A signed line, without its line end.
#[derive(Clone, Debug)]
pub struct Line {
    pub seq: u64,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct Chain {
    key: LogKey,
    seq: u64,
    prev: [u8; 32],
}

impl Chain {
    pub fn new(key: LogKey) -> Self {
        Self::resume(key, 0, GENESIS)
    }

    /// Goes on behind a line whose SHA-256 is `prev`.
    pub fn resume(key: LogKey, seq: u64, prev: [u8; 32]) -> Self {
        Self { key, seq, prev }
    }

    /// The next line of the log.
    pub fn sign(&mut self, body: &Body, unix_ns: u64) -> Line {
        let mut record = self.envelope(body, unix_ns);
        let mut bytes = encode(&record);
        if bytes.len() > limits::RECORD_BYTES {
            shrink(&mut record);
            bytes = encode(&record);
        }
        let signature = self.key.sign(&[SIGNING_CONTEXT, &bytes].concat());
        record.insert("signature".into(), Value::from(STANDARD.encode(signature)));
        let bytes = encode(&record);
        let line = Line { seq: self.seq, bytes };
        self.prev = Sha256::digest(&line.bytes).into();
        self.seq += 1;
        line
    }

    fn envelope(&self, body: &Body, unix_ns: u64) -> Map<String, Value> {
        let mut record = match serde_json::to_value(body) {
            Ok(Value::Object(record)) => record,
            // A body is a struct with string keys: it always becomes an object.
            _ => Map::new(),
        };
        let mut set = |name: &str, value: Value| record.insert(name.into(), value);
        set("epoch", Value::from(0));
        set("key_id", Value::from(self.key.id_hex()));
        set("log_id", Value::from(self.key.name()));
        set("prev", Value::from(hex(&self.prev)));
        set("record_id", Value::from(self.record_id(unix_ns)));
        set("schema", Value::from(SCHEMA));
        set("seq", Value::from(self.seq));
        set("time", Value::from(rfc3339(unix_ns)));
        record
    }

    /// A UUID version 7 (RFC 9562) whose random part is derived, so that a replay gives the same one.
    fn record_id(&self, unix_ns: u64) -> String {
        let digest = Sha256::new()
            .chain_update(self.key.name())
            .chain_update(b"\n")
            .chain_update(self.seq.to_be_bytes())
            .chain_update(self.prev)
            .finalize();
        let mut id = [0; 16];
        let millis = (unix_ns / 1_000_000).to_be_bytes();
        id[..6].copy_from_slice(&millis[2..]);
        id[6..].copy_from_slice(&digest[..10]);
        id[6] = id[6] & 0x0f | 0x70;
        id[8] = id[8] & 0x3f | 0x80;
        let text = hex(&id);
        format!(
            "{}-{}-{}-{}-{}",
            &text[..8],
            &text[8..12],
            &text[12..16],
            &text[16..20],
            &text[20..]
        )
    }
}

/// RFC 8785 bytes: the map is sorted, keys are ASCII and numbers whole, so the plain encoder's output is canonical.
pub fn encode(record: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// Takes what is longest and matters least out of a record that is over its cap, and says so.
fn shrink(record: &mut Map<String, Value>) {
    for (name, empty) in [
        ("effective_params", Value::Object(Map::new())),
        ("tool_calls", Value::Array(Vec::new())),
        ("params", Value::Object(Map::new())),
        ("finish_reasons_raw", Value::Array(Vec::new())),
        ("finish_reasons", Value::Array(Vec::new())),
        ("model_files", Value::Array(Vec::new())),
    ] {
        if record.contains_key(name) {
            record.insert(name.into(), empty);
        }
    }
    for side in ["client", "server"] {
        if let Some(Value::Object(process)) = record.get_mut(side).and_then(|side| side.get_mut("process")) {
            process.insert("argv".into(), Value::Array(Vec::new()));
        }
    }
    let notes = record
        .get_mut("capture")
        .and_then(|capture| capture.get_mut("notes"));
    if let Some(notes) = notes {
        *notes = Value::from(vec!["record_over_cap"]);
    }
}
