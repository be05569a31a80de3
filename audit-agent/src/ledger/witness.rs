//! A witness: cosigns a log's checkpoint when it continues the last one that was cosigned (C2SP tlog-witness).
//!
//! In: the body of an `add-checkpoint` request and the last head cosigned. Out: the answer. What was decided is durable
//! before the answer is given: see [`state`]. Never: two cosignatures that contradict each other.

pub mod client;
pub mod cosigned;
pub mod state;

use super::keys::Verifier;
use super::merkle::Hash;
use super::merkle::proof::{self, Head, consistent};
use super::note::{Checkpoint, Note, NoteError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// Content type of the answer that names the last size.
pub const SIZE_TYPE: &str = "text/x.tlog.size";
/// Path of the request below a witness's address.
pub const ADD_CHECKPOINT: &str = "add-checkpoint";

/// What a log asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AddCheckpoint {
    /// The size that the log believes to be the last one cosigned.
    pub old: u64,
    pub proof: Vec<Hash>,
    pub note: String,
}

impl AddCheckpoint {
    /// Reads `old <size>`, proof lines, an empty line, a checkpoint.
    pub fn parse(body: &str) -> Option<Self> {
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old = lines.next()?.strip_prefix("old ")?;
        let size: u64 = old.parse().ok()?;
        let proof = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok());
        let proof: Vec<Hash> = proof.take(proof::MOST + 1).collect::<Option<_>>()?;
        (size.to_string() == old && proof.len() <= proof::MOST).then(|| Self {
            old: size,
            proof,
            note: note.into(),
        })
    }

    /// The body of the request.
    pub fn body(&self) -> String {
        let proof: String = self
            .proof
            .iter()
            .map(|hash| STANDARD.encode(hash) + "\n")
            .collect();
        format!("old {}\n{proof}\n{}", self.old, self.note)
    }
}

/// Why a checkpoint is not cosigned; each has the status that the protocol gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// 400
    Malformed,
    /// 404
    UnknownLog,
    /// 403
    Unsigned,
    /// 400: the old size is above the new one.
    Backwards,
    /// 409: another size was the last one; it is the answer's body.
    Conflict(u64),
    /// 409: the same size with another root: the log was forked.
    Fork(u64),
    /// 422
    Proof,
}

impl Refusal {
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed | Self::Backwards => 400,
            Self::UnknownLog => 404,
            Self::Unsigned => 403,
            Self::Conflict(_) | Self::Fork(_) => 409,
            Self::Proof => 422,
        }
    }
}

/// A request that is well formed and signed by a log that is known.
#[derive(Clone, Debug)]
pub struct Asked {
    pub origin: String,
    pub head: Head,
    pub note: Note,
    request: AddCheckpoint,
}

/// Reads a request against the logs that are known, by origin.
pub fn read(body: &[u8], logs: &BTreeMap<String, Verifier>) -> Result<Asked, Refusal> {
    let body = std::str::from_utf8(body).map_err(|_| Refusal::Malformed)?;
    let request = AddCheckpoint::parse(body).ok_or(Refusal::Malformed)?;
    let note = Note::parse(&request.note).map_err(|_| Refusal::Malformed)?;
    let checkpoint = Checkpoint::parse(&note.text).map_err(|_| Refusal::Malformed)?;
    let log = logs.get(&checkpoint.origin).ok_or(Refusal::UnknownLog)?;
    match note.signed_by(log) {
        Ok(_) => {}
        Err(NoteError::Unsigned | NoteError::Forged) => return Err(Refusal::Unsigned),
        Err(_) => return Err(Refusal::Malformed),
    }
    Ok(Asked {
        origin: checkpoint.origin,
        head: checkpoint.head,
        note,
        request,
    })
}

/// Whether the checkpoint may be cosigned after `last`.
pub fn decide(asked: &Asked, last: Option<&Head>) -> Result<(), Refusal> {
    let empty = Head {
        size: 0,
        root: super::merkle::empty(),
    };
    let last = last.unwrap_or(&empty);
    if asked.request.old > asked.head.size {
        return Err(Refusal::Backwards);
    }
    if asked.request.old != last.size {
        return Err(Refusal::Conflict(last.size));
    }
    if asked.head.size == last.size && asked.head.root != last.root {
        return Err(Refusal::Fork(last.size));
    }
    if consistent(last, &asked.head, &asked.request.proof) {
        Ok(())
    } else {
        Err(Refusal::Proof)
    }
}

#[cfg(test)]
mod tests;
