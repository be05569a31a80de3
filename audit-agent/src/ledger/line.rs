//! One line of a log: its form, its signature, what it says of itself.
//!
//! In: a line without its line end, who has to have signed it. Out: [`Checked`], or why it is not a line of this log. Never: its
//! place in the log; a panic, whatever the line is.

use super::canonical::Canonical;
use super::epoch::key_name;
use super::keys::{Kind, Verifier};
use super::unsigned::SIGNATURE;
use crate::record::SCHEMA;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
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
    /// Only for agent_start and heartbeat records: seconds between heartbeats.
    pub heartbeat_s: Option<u64>,
    /// Only for recovery records: line 0 of a log that is gone.
    pub lost_first_line: Option<String>,
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
    let (checked, (message, signature)) = check_form(line, signer)?;
    if signer.key.verify(&message, &signature) {
        Ok(checked)
    } else {
        Err(LineError::Signature)
    }
}

/// The bytes that were signed, and the signature.
pub type Signed = (Vec<u8>, [u8; 64]);

/// Checks the form of one line; whether the signature is the signer's is left open.
pub fn check_form(line: &[u8], signer: &Signer) -> Result<(Checked, Signed), LineError> {
    let record = Canonical::read(line)?;
    let encoded = record.text(SIGNATURE)?;
    let signature = STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    let signature: [u8; 64] = signature.ok_or(LineError::Member(SIGNATURE))?;
    check_signer(&record, signer)?;
    let record_type = record.text("record_type")?;
    let checked = Checked {
        seq: record.number("seq")?,
        prev: record.text("prev")?,
        time: record.text("time")?,
        gap: record.text("where").ok().filter(|_| record_type == "gap"),
        lost_first_line: record
            .text("lost_first_line")
            .ok()
            .filter(|_| record_type == "recovery"),
        heartbeat_s: record
            .number("heartbeat_s")
            .ok()
            .filter(|_| matches!(record_type.as_str(), "agent_start" | "heartbeat")),
        retired_before: record
            .number("retired_before")
            .ok()
            .filter(|_| record_type == "retention"),
        next: match record_type.as_str() {
            "epoch" => Some(next_key(&record, signer)?),
            _ => None,
        },
        record_type,
    };
    Ok((checked, (record.message(SIGNATURE)?, signature)))
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

fn check_signer(record: &Canonical<'_>, signer: &Signer) -> Result<(), LineError> {
    if record.text("schema")? != SCHEMA {
        return Err(LineError::Member("schema"));
    }
    if record.text("log_id")? != signer.origin {
        return Err(LineError::OtherLog);
    }
    let (expected, found) = (signer.epoch, record.number("epoch")?);
    if found != expected {
        return Err(LineError::Epoch { expected, found });
    }
    if record.text("key_id")? != signer.key.id_hex() {
        return Err(LineError::OtherLog);
    }
    Ok(())
}

/// The hand-over has to be to the very next epoch; only the first line may begin at another.
fn next_key(record: &Canonical<'_>, signer: &Signer) -> Result<(u64, Verifier), LineError> {
    let next = record.number("next_epoch")?;
    let key = Verifier::parse(&record.text("next_key")?).map_err(|_| LineError::HandOver)?;
    let follows = signer.epoch.checked_add(1) == Some(next) || signer.epoch == 0 && next > 0;
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
