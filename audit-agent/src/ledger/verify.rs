//! Checks a log with nothing but its public key.
//!
//! In: lines. Out: a [`Report`] that names the first line that is not as it was signed. Never: trust in anything that
//! is not recomputed here; a panic, whatever the lines are.

use super::chain::{GENESIS, SIGNING_CONTEXT, encode};
use super::keys::Verifier;
use crate::record::SCHEMA;
use crate::record::hash::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a line is not one of this log.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum LineError {
    #[error("not a JSON object")]
    NotJson,
    #[error("not in canonical form")]
    NotCanonical,
    #[error("the member `{0}` is missing or of the wrong kind")]
    Member(&'static str),
    #[error("of another log or key")]
    OtherLog,
    #[error("the signature is not the log's")]
    Signature,
    #[error("number {found} where {expected} has to be")]
    Sequence { expected: u64, found: u64 },
    #[error("does not follow the line before it")]
    Chain,
}

/// A line that is well formed and signed; its place is not judged.
#[derive(Debug)]
pub struct Checked {
    pub seq: u64,
    pub prev: String,
    pub record_type: String,
    pub time: String,
    /// Only for gap records: where.
    pub gap: Option<String>,
}

/// Checks form and signature of one line (without its line end).
pub fn check_line(line: &[u8], verifier: &Verifier) -> Result<Checked, LineError> {
    let mut record: Map<String, Value> = serde_json::from_slice(line).map_err(|_| LineError::NotJson)?;
    // Duplicate keys, spaces, other escapes, floats and unsorted keys all come out different.
    if encode(&record) != line || record.values().any(has_float) {
        return Err(LineError::NotCanonical);
    }
    let signature = match record.remove("signature") {
        Some(Value::String(text)) => STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok()),
        _ => None,
    };
    let signature: [u8; 64] = signature.ok_or(LineError::Member("signature"))?;
    let text = |name: &'static str| match record.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(LineError::Member(name)),
    };
    if text("schema")? != SCHEMA {
        return Err(LineError::Member("schema"));
    }
    if text("log_id")? != verifier.name || text("key_id")? != verifier.id_hex() {
        return Err(LineError::OtherLog);
    }
    if !verifier.verify(&[SIGNING_CONTEXT, &encode(&record)].concat(), &signature) {
        return Err(LineError::Signature);
    }
    Ok(Checked {
        seq: record
            .get("seq")
            .and_then(Value::as_u64)
            .ok_or(LineError::Member("seq"))?,
        prev: text("prev")?,
        time: text("time")?,
        gap: text("where").ok(),
        record_type: text("record_type")?,
    })
}

fn has_float(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(values) => values.iter().any(has_float),
        Value::Object(members) => members.values().any(has_float),
        _ => false,
    }
}

/// Where a log first is not what it was.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// The sequence number that should have been there.
    pub seq: u64,
    /// Line in the file, from 1.
    pub line: u64,
    pub reason: String,
}

/// What a check of a whole log found.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Report {
    pub records: u64,
    pub by_type: BTreeMap<String, u64>,
    /// Declared gaps by place.
    pub gaps: BTreeMap<String, u64>,
    pub first_time: Option<String>,
    pub last_time: Option<String>,
    pub fault: Option<Fault>,
    /// The last line has no line end: it was not written whole.
    pub torn: bool,
}

/// Reads a log line by line; the first fault ends it.
#[derive(Debug)]
pub struct LogCheck {
    verifier: Verifier,
    prev: [u8; 32],
    report: Report,
}

impl LogCheck {
    pub fn new(verifier: Verifier) -> Self {
        Self {
            verifier,
            prev: GENESIS,
            report: Report::default(),
        }
    }

    /// The next line without its line end; false when there is nothing more to check.
    pub fn line(&mut self, line: &[u8]) -> bool {
        if self.report.fault.is_some() {
            return false;
        }
        match self.check(line) {
            Ok(checked) => {
                self.prev = Sha256::digest(line).into();
                self.count(checked);
                true
            }
            Err(reason) => {
                let seq = self.report.records;
                self.report.fault = Some(Fault {
                    seq,
                    line: seq + 1,
                    reason: reason.to_string(),
                });
                false
            }
        }
    }

    fn check(&self, line: &[u8]) -> Result<Checked, LineError> {
        let checked = check_line(line, &self.verifier)?;
        let expected = self.report.records;
        if checked.seq != expected {
            return Err(LineError::Sequence {
                expected,
                found: checked.seq,
            });
        }
        if checked.prev != hex(&self.prev) {
            return Err(LineError::Chain);
        }
        Ok(checked)
    }

    fn count(&mut self, checked: Checked) {
        self.report.records += 1;
        self.report.first_time.get_or_insert_with(|| checked.time.clone());
        self.report.last_time = Some(checked.time);
        if let Some(place) = checked.gap {
            *self.report.gaps.entry(place).or_default() += 1;
        }
        *self.report.by_type.entry(checked.record_type).or_default() += 1;
    }

    /// A last line without a line end.
    pub fn torn(&mut self) {
        self.report.torn = true;
    }

    pub fn finish(self) -> Report {
        self.report
    }
}
