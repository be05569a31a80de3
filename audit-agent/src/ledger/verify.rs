//! Checks a log with nothing but its public key.
//!
//! In: lines. Out: a [`Report`] that names the first line that is not as it was signed. Never: trust in anything that
//! is not recomputed here; a panic, whatever the lines are.

use super::chain::{GENESIS, SIGNING_CONTEXT, encode};
use super::epoch::key_name;
use super::keys::{Kind, Verifier};
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
    #[error("signed in epoch {found}, and the epoch is {expected}")]
    Epoch { expected: u64, found: u64 },
    #[error("hands over to a key that is not the next epoch's")]
    HandOver,
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
    /// Only for epoch records: the next epoch and its key.
    pub next: Option<(u64, Verifier)>,
    /// Only for retention records: lines before this one are deleted.
    pub retired_before: Option<u64>,
}

/// Which key has to have signed a line.
#[derive(Clone, Debug)]
pub struct Signer {
    /// Name of the log.
    pub origin: String,
    pub epoch: u64,
    pub key: Verifier,
}

impl Signer {
    /// Of the first line: the log's own key.
    pub fn first(log: Verifier) -> Self {
        Self {
            origin: log.name.clone(),
            epoch: 0,
            key: log,
        }
    }
}

/// Checks form and signature of one line (without its line end).
pub fn check_line(line: &[u8], signer: &Signer) -> Result<Checked, LineError> {
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
    check_signer(&record, signer)?;
    if !signer
        .key
        .verify(&[SIGNING_CONTEXT, &encode(&record)].concat(), &signature)
    {
        return Err(LineError::Signature);
    }
    let record_type = text(&record, "record_type")?;
    Ok(Checked {
        seq: number(&record, "seq")?,
        prev: text(&record, "prev")?,
        time: text(&record, "time")?,
        gap: text(&record, "where").ok().filter(|_| record_type == "gap"),
        retired_before: number(&record, "retired_before")
            .ok()
            .filter(|_| record_type == "retention"),
        next: match record_type.as_str() {
            "epoch" => Some(next_key(&record, signer)?),
            _ => None,
        },
        record_type,
    })
}

/// What a line says of itself, believed by nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    pub seq: u64,
    pub epoch: u64,
    pub record_type: String,
    pub time: String,
    /// Of epoch records.
    pub next: Option<(u64, String)>,
}

/// Reads a line without checking it.
pub fn claim(line: &[u8]) -> Result<Claim, LineError> {
    let record: Map<String, Value> = serde_json::from_slice(line).map_err(|_| LineError::NotJson)?;
    Ok(Claim {
        seq: number(&record, "seq")?,
        epoch: number(&record, "epoch")?,
        record_type: text(&record, "record_type")?,
        time: text(&record, "time")?,
        next: number(&record, "next_epoch")
            .ok()
            .zip(text(&record, "next_key").ok()),
    })
}

fn check_signer(record: &Map<String, Value>, signer: &Signer) -> Result<(), LineError> {
    if text(record, "schema")? != SCHEMA {
        return Err(LineError::Member("schema"));
    }
    if text(record, "log_id")? != signer.origin {
        return Err(LineError::OtherLog);
    }
    let (expected, found) = (signer.epoch, number(record, "epoch")?);
    if found != expected {
        return Err(LineError::Epoch { expected, found });
    }
    if text(record, "key_id")? != signer.key.id_hex() {
        return Err(LineError::OtherLog);
    }
    Ok(())
}

/// The hand-over has to be to the very next epoch; only the first line may begin at another.
fn next_key(record: &Map<String, Value>, signer: &Signer) -> Result<(u64, Verifier), LineError> {
    let next = number(record, "next_epoch")?;
    let key = Verifier::parse(&text(record, "next_key")?).map_err(|_| LineError::HandOver)?;
    let follows = next == signer.epoch + 1 || signer.epoch == 0 && next > 0;
    if follows && key.kind == Kind::Ed25519 && key.name == key_name(&signer.origin, next) {
        Ok((next, key))
    } else {
        Err(LineError::HandOver)
    }
}

fn text(record: &Map<String, Value>, name: &'static str) -> Result<String, LineError> {
    match record.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(LineError::Member(name)),
    }
}

fn number(record: &Map<String, Value>, name: &'static str) -> Result<u64, LineError> {
    record
        .get(name)
        .and_then(Value::as_u64)
        .ok_or(LineError::Member(name))
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
    /// Lines before this one are deleted, as the last retention record says.
    pub retired_before: u64,
    pub fault: Option<Fault>,
    /// The last line has no line end: it was not written whole.
    pub torn: bool,
}

/// Reads a log line by line; the first fault ends it.
#[derive(Debug)]
pub struct LogCheck {
    signer: Signer,
    seq: u64,
    /// None behind lines that are not there.
    prev: Option<[u8; 32]>,
    fault: Option<LineError>,
    report: Report,
}

impl LogCheck {
    pub fn new(verifier: Verifier) -> Self {
        Self::from(Signer::first(verifier), 0, GENESIS)
    }

    /// Begins at line `seq`, which follows a line with SHA-256 `prev`.
    pub fn from(signer: Signer, seq: u64, prev: [u8; 32]) -> Self {
        Self {
            signer,
            seq,
            prev: Some(prev),
            fault: None,
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
                self.prev = Some(Sha256::digest(line).into());
                self.seq += 1;
                self.count(checked);
                true
            }
            Err(reason) => {
                self.report.fault = Some(Fault {
                    seq: self.seq,
                    line: self.report.records + 1,
                    reason: reason.to_string(),
                });
                self.fault = Some(reason);
                false
            }
        }
    }

    /// A line out of deleted ones: its signature, and the key or the retention that it names.
    pub fn kept(&mut self, line: &[u8], seq: u64) -> bool {
        let checked = match check_line(line, &self.signer) {
            Ok(checked) if checked.seq == seq => checked,
            _ => return false,
        };
        if let Some((epoch, key)) = checked.next {
            (self.signer.epoch, self.signer.key) = (epoch, key);
        }
        self.report.retired_before = self
            .report
            .retired_before
            .max(checked.retired_before.unwrap_or(0));
        true
    }

    /// Goes on at line `seq`; those before it are not there.
    pub fn skip_to(&mut self, seq: u64) {
        (self.seq, self.prev) = (seq, None);
    }

    /// Whether the fault is that the log or its key is another.
    pub fn of_another_key(&self) -> bool {
        self.fault == Some(LineError::OtherLog)
    }

    /// What the fault is, in words.
    pub fn reason(&self) -> String {
        self.fault.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn check(&self, line: &[u8]) -> Result<Checked, LineError> {
        let checked = check_line(line, &self.signer)?;
        let expected = self.seq;
        if checked.seq != expected {
            return Err(LineError::Sequence {
                expected,
                found: checked.seq,
            });
        }
        if self.prev.is_some_and(|prev| checked.prev != hex(&prev)) {
            return Err(LineError::Chain);
        }
        // Otherwise the log key could sign records long after the first.
        if self.signer.epoch == 0 && checked.next.is_none() {
            return Err(LineError::HandOver);
        }
        Ok(checked)
    }

    fn count(&mut self, checked: Checked) {
        if let Some((epoch, key)) = checked.next {
            (self.signer.epoch, self.signer.key) = (epoch, key);
        }
        self.report.retired_before = self
            .report
            .retired_before
            .max(checked.retired_before.unwrap_or(0));
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
