//! Checks a log with nothing but its public key.
//!
//! In: lines. Out: a [`Report`] that names the first line that is not as it was signed. Never: trust in anything that
//! is not recomputed here; a panic, whatever the lines are.

use super::cadence::{Cadence, Silence};
use super::chain::GENESIS;
use super::keys::Verifier;
use super::line::{Checked, LineError, Signed, Signer, check_form, check_line};
use crate::record::hash::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

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
    /// SHA-256 of line 0 of the log that the same key signed before this one, and that was gone when this one began.
    pub lost_first_line: Option<String>,
    /// Times of which no record says anything, the first of them; all are counted.
    pub silences: Vec<Silence>,
    pub silence_count: u64,
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
    /// Lines whose signatures are to be checked together, all of this signer.
    pending: Vec<Checked>,
    signed: Vec<Signed>,
    fault: Option<LineError>,
    cadence: Cadence,
    report: Report,
}

/// Signatures that are checked together.
const BATCH: usize = 128;

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
            pending: Vec::new(),
            signed: Vec::new(),
            fault: None,
            cadence: Cadence::default(),
            report: Report::default(),
        }
    }

    /// The next line without its line end; false when there is nothing more to check. A false signature may show some lines
    /// later, at the latest when [`LogCheck::settle`] is called; the fault names its own line.
    pub fn line(&mut self, line: &[u8]) -> bool {
        if self.report.fault.is_some() {
            return false;
        }
        match self.check(line) {
            Ok((checked, signed)) => {
                self.prev = Some(Sha256::digest(line).into());
                self.seq += 1;
                let another_signer = checked.next.is_some();
                self.pending.push(checked);
                self.signed.push(signed);
                !(another_signer || self.pending.len() >= BATCH) || self.settle()
            }
            Err(reason) => self.settle() && self.fail(self.seq, reason),
        }
    }

    /// Checks the signatures that were put off; false when there is nothing more to check.
    pub fn settle(&mut self) -> bool {
        let (pending, signed) = (
            std::mem::take(&mut self.pending),
            std::mem::take(&mut self.signed),
        );
        let all = self.signer.key.verify_all(&signed);
        for (checked, (message, signature)) in pending.into_iter().zip(signed) {
            if !all && !self.signer.key.verify(&message, &signature) {
                return self.fail(checked.seq, LineError::Signature);
            }
            self.count(checked);
        }
        self.report.fault.is_none()
    }

    /// The first line that is not right.
    pub fn fault_seq(&self) -> Option<u64> {
        self.report.fault.as_ref().map(|fault| fault.seq)
    }

    fn fail(&mut self, seq: u64, reason: LineError) -> bool {
        self.report.fault = Some(Fault {
            seq,
            line: self.report.records + 1,
            reason: reason.to_string(),
        });
        self.fault = Some(reason);
        false
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
        self.settle();
        (self.seq, self.prev) = (seq, None);
        self.cadence.skip();
    }

    /// Whether the fault is that the log or its key is another.
    pub fn of_another_key(&self) -> bool {
        self.fault == Some(LineError::OtherLog)
    }

    /// What the fault is, in words.
    pub fn reason(&self) -> String {
        self.fault.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    fn check(&self, line: &[u8]) -> Result<(Checked, Signed), LineError> {
        let (checked, signed) = check_form(line, &self.signer)?;
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
        Ok((checked, signed))
    }

    fn count(&mut self, checked: Checked) {
        self.cadence.line(&checked);
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
        if checked.lost_first_line.is_some() {
            self.report.lost_first_line = checked.lost_first_line;
        }
        if let Some(place) = checked.gap {
            *self.report.gaps.entry(place).or_default() += 1;
        }
        *self.report.by_type.entry(checked.record_type).or_default() += 1;
    }

    /// A last line without a line end.
    pub fn torn(&mut self) {
        self.report.torn = true;
    }

    pub fn finish(mut self) -> Report {
        self.settle();
        let (silences, silence_count) = self.cadence.finish();
        Report {
            silences,
            silence_count,
            ..self.report
        }
    }
}
