//! Reading records in tests: the names of fields are here and nowhere else.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

/// With this configuration a test can compute the hashes that records must have.
pub const PLAIN_HASHES: &str = "[privacy]\nhash = \"sha256\"\n";

/// A hash as records write it.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The hash of a file's bytes.
pub fn sha256_of_file(path: &Path) -> Result<String> {
    Ok(sha256(
        &std::fs::read(path).with_context(|| format!("reading {path:?}"))?,
    ))
}

/// The hash of a JSON value in RFC 8785 form: `prompt_hash` of `messages` or `prompt`.
pub fn canonical_hash(value: &Value) -> Result<String> {
    Ok(sha256(&serde_json_canonicalizer::to_vec(value)?))
}

/// The records of one type, in order.
pub fn of_type<'a>(records: &'a [Value], record_type: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["record_type"] == record_type)
        .collect()
}

/// The one inference record whose prompt has this hash.
pub fn with_prompt<'a>(records: &'a [Value], prompt_hash: &str) -> Result<&'a Value> {
    only(records, &format!("prompt_hash {prompt_hash}"), |record| {
        record["prompt_hash"] == prompt_hash
    })
}

/// The one inference record of a connection from this port.
pub fn from_port(records: &[Value], port: u16) -> Result<&Value> {
    only(records, &format!("client.port {port}"), |record| {
        record["client"]["port"] == port
    })
}

/// The one inference record of a client process.
pub fn from_process(records: &[Value], pid: u32) -> Result<&Value> {
    only(records, &format!("client.process.pid {pid}"), |record| {
        record["client"]["process"]["pid"] == pid
    })
}

fn only<'a>(records: &'a [Value], what: &str, matches: impl Fn(&Value) -> bool) -> Result<&'a Value> {
    let found: Vec<_> = of_type(records, "inference")
        .into_iter()
        .filter(|record| matches(record))
        .collect();
    ensure!(
        found.len() == 1,
        "{} records with {what}, expected one: {found:#?}",
        found.len()
    );
    Ok(found[0])
}

/// What the log declares as missing: events and bytes of gap records, bytes of inference records.
pub fn declared_missing(records: &[Value]) -> u64 {
    let sum = |map: &Value| {
        map.as_object()
            .map_or(0, |map| map.values().filter_map(Value::as_u64).sum::<u64>())
    };
    let gap = |record: &Value| sum(&record["lost"]) + sum(&record["lost_bytes"]);
    let missed = |record: &Value| record["capture"]["bytes_missed"].as_u64().unwrap_or(0);
    let gaps: u64 = of_type(records, "gap").into_iter().map(gap).sum();
    gaps + of_type(records, "inference").into_iter().map(missed).sum::<u64>()
}
