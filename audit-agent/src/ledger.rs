//! The log: records in an order that nobody can change afterwards without its showing.
//!
//! In: record bodies with the time they are about. Out: signed lines, in a file that survives the agent's death at any
//! moment. Never: a sequence number twice, a line that is not signed, a loss without a signed word.

pub mod chain;
pub mod file;
pub mod keys;
pub mod merkle;
pub mod note;
pub mod verify;

use crate::limits;
use crate::record::{Body, Gap, Recovery, rfc3339};
use chain::{Chain, Line};
use file::{LogError, LogFile};
use keys::LogKey;
use std::collections::BTreeMap;
use std::path::Path;

/// The chain together with the file that holds it.
#[derive(Debug)]
pub struct Ledger {
    chain: Chain,
    file: LogFile,
    /// Signed lines that are not in the file yet.
    waiting: Vec<u8>,
    /// Records that were refused since the file stopped taking lines.
    refused: u64,
    refused_since_ns: Option<u64>,
}

impl Ledger {
    /// Opens or creates the log in `dir`. What its end lacks is said in the first lines of this run.
    pub fn open(dir: &Path, key: LogKey, now_unix_ns: u64) -> Result<(Self, Vec<Line>), LogError> {
        let (file, tail) = LogFile::open(dir, &key.verifier())?;
        let chain = Chain::resume(key, tail.next_seq, tail.prev);
        let mut ledger = Self {
            chain,
            file,
            waiting: Vec::new(),
            refused: 0,
            refused_since_ns: None,
        };
        let mut lines = Vec::new();
        if let Some(torn) = tail.torn {
            let body = Recovery {
                torn_bytes: torn.bytes,
                torn_file: Some(torn.file),
                torn_sha256: Some(torn.sha256),
            };
            lines.extend(ledger.submit(&Body::Recovery(body), now_unix_ns));
        }
        if let Some(since) = tail.unclean_since {
            let body = Gap {
                place: "agent_down".into(),
                since: Some(since),
                until: Some(rfc3339(now_unix_ns)),
                ..Gap::default()
            };
            lines.extend(ledger.submit(&Body::Gap(body), now_unix_ns));
        }
        Ok((ledger, lines))
    }

    /// Signs a record and queues it for the file. None, and counted, while the file takes nothing and the queue is full.
    pub fn submit(&mut self, body: &Body, unix_ns: u64) -> Option<Line> {
        if self.waiting.len() > limits::UNWRITTEN_BYTES {
            self.refused += 1;
            self.refused_since_ns.get_or_insert(unix_ns);
            return None;
        }
        let line = self.chain.sign(body, unix_ns);
        self.waiting.extend_from_slice(&line.bytes);
        self.waiting.push(b'\n');
        Some(line)
    }

    /// Makes everything that was submitted durable. On an error the lines stay queued; call again.
    ///
    /// When the file takes lines again after some were refused, the first new line says how many.
    pub fn commit(&mut self, now_unix_ns: u64) -> Result<Option<Line>, LogError> {
        self.file.append(&mut self.waiting)?;
        if self.refused == 0 {
            return Ok(None);
        }
        let body = Gap {
            place: "sink".into(),
            lost: BTreeMap::from([("records".into(), self.refused)]),
            since: self.refused_since_ns.take().map(rfc3339),
            until: Some(rfc3339(now_unix_ns)),
            ..Gap::default()
        };
        self.refused = 0;
        let line = self.submit(&Body::Gap(body), now_unix_ns);
        self.file.append(&mut self.waiting)?;
        Ok(line)
    }

    /// Records that wait for the file, in bytes.
    pub fn unwritten_bytes(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests;
