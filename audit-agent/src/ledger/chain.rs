//! Gives records their place: number, hash of the line before, signature, leaf of the tree.
//!
//! In: a body and its time. Out: one canonical JSON line (RFC 8785), before it the hand-over to a new key where one is
//! due; checkpoints. Never: a clock, randomness, IO: the same bodies with the same keys give the same bytes.

use super::epoch::{self, Epochs};
use super::keys::LogKey;
use super::merkle::leaf;
use super::merkle::proof::Head;
use super::merkle::tile::Tile;
use super::merkle::tree::Tree;
use super::note::{Checkpoint, Note};
use super::shrink::shrunk;
use super::unsigned::{Envelope, Unsigned};
use crate::limits;
use crate::record::hash::hex;
use crate::record::{Body, Epoch, SCHEMA, rfc3339};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
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

/// Where the next line goes.
#[derive(Clone, Debug)]
pub struct Place {
    pub seq: u64,
    /// SHA-256 of the line before.
    pub prev: [u8; 32],
    pub tree: Tree,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            seq: 0,
            prev: GENESIS,
            tree: Tree::default(),
        }
    }
}

/// Signs lines with the key of the epoch and checkpoints with the key of the log.
#[derive(Debug)]
pub struct Chain {
    log: LogKey,
    epochs: Epochs,
    /// The key of this epoch.
    key: LogKey,
    place: Place,
    /// Tiles that were filled and not taken yet.
    full: Vec<Tile>,
    /// Of the last record.
    unsigned: Unsigned,
    /// Of this epoch; none while it is not this chain that began it.
    records: u64,
    since_ns: Option<u64>,
}

impl Chain {
    pub fn new(log: LogKey, epochs: Epochs) -> Self {
        Self::resume(log, epochs, Place::default())
    }

    /// Goes on at `place`; the epoch of `epochs` signs no more than its end, since nobody knows how long it has been open.
    pub fn resume(log: LogKey, epochs: Epochs, place: Place) -> Self {
        let key = epochs.key();
        Self {
            log,
            epochs,
            key,
            place,
            full: Vec::new(),
            unsigned: Unsigned::default(),
            records: 0,
            since_ns: None,
        }
    }

    /// The number of the next line.
    pub fn seq(&self) -> u64 {
        self.place.seq
    }

    /// The epoch that the next record is signed in.
    pub fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// The tiles that were filled since the last call.
    pub fn take_full(&mut self) -> Vec<Tile> {
        std::mem::take(&mut self.full)
    }

    /// The log's signature over every line so far. Only for lines that are durable.
    pub fn checkpoint(&self) -> Note {
        let head = Head {
            size: self.place.seq,
            root: self.place.tree.root(),
        };
        let origin = self.log.name().to_owned();
        Checkpoint { origin, head }.note(&self.log)
    }

    /// The next line of the log, behind the hand-over to a new key where one is due.
    pub fn sign(&mut self, body: &Body, unix_ns: u64, out: &mut Vec<Line>) {
        if self.place.seq == 0 {
            out.push(self.line(&hand_over(&self.epochs, &self.key), unix_ns, Signer::Log));
        } else if self.is_over(unix_ns) {
            let next = self.epochs.following();
            let key = next.key();
            out.push(self.line(&hand_over(&next, &key), unix_ns, Signer::Epoch));
            // The old secret and its key are erased as they are dropped here.
            (self.epochs, self.key) = (next, key);
            (self.records, self.since_ns) = (0, None);
        }
        self.since_ns.get_or_insert(unix_ns);
        self.records += 1;
        out.push(self.line(body, unix_ns, Signer::Epoch));
    }

    /// Whether this epoch has had its records or its time, or is one of an earlier run. A clock that was set back ends it too.
    fn is_over(&self, unix_ns: u64) -> bool {
        self.since_ns
            .is_none_or(|since| unix_ns.abs_diff(since) >= epoch::NANOS)
            || self.records >= epoch::RECORDS
    }

    fn line(&mut self, body: &Body, unix_ns: u64, signer: Signer) -> Line {
        let mut unsigned = std::mem::take(&mut self.unsigned);
        let envelope = self.envelope(unix_ns, signer);
        unsigned.set_body(body, &envelope);
        if unsigned.bytes().len() > limits::RECORD_BYTES {
            unsigned.set(&shrunk(body, &envelope));
        }
        let signature = match signer {
            Signer::Log => self.log.sign(unsigned.message()),
            Signer::Epoch => self.key.sign(unsigned.message()),
        };
        let line = Line {
            seq: self.place.seq,
            bytes: unsigned.line(&STANDARD.encode(signature)),
        };
        self.unsigned = unsigned;
        self.place.prev = Sha256::digest(&line.bytes).into();
        self.place.tree.push(leaf(&line.bytes), &mut self.full);
        self.place.seq += 1;
        line
    }

    fn envelope(&self, unix_ns: u64, signer: Signer) -> Envelope<'_> {
        let (epoch, key_id) = match signer {
            Signer::Log => (0, self.log.id_hex()),
            Signer::Epoch => (self.epochs.number(), self.key.id_hex()),
        };
        Envelope {
            epoch,
            key_id,
            log_id: self.log.name(),
            prev: hex(&self.place.prev),
            record_id: self.record_id(unix_ns),
            schema: SCHEMA,
            seq: self.place.seq,
            time: rfc3339(unix_ns),
        }
    }

    /// A UUID version 7 (RFC 9562) whose random part is derived, so that a replay gives the same one.
    fn record_id(&self, unix_ns: u64) -> String {
        let digest = Sha256::new()
            .chain_update(self.log.name())
            .chain_update(b"\n")
            .chain_update(self.place.seq.to_be_bytes())
            .chain_update(self.place.prev)
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

/// Which key signs a line: the log's only the first.
#[derive(Clone, Copy, Debug)]
enum Signer {
    Log,
    Epoch,
}

/// The record that names the key of the next epoch.
fn hand_over(next: &Epochs, key: &LogKey) -> Body {
    Body::Epoch(Epoch {
        next_epoch: next.number(),
        next_key: key.verifier().to_string(),
    })
}
