//! One message under way: what of it has been seen, and how it ends.

use super::coding::Codings;
use super::{BodyEnd, BodyState};
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub struct Message {
    /// None for a response to a request that was not seen.
    pub exchange: Option<u64>,
    pub codings: Codings,
    pub wire_bytes: u64,
    pub missed_bytes: u64,
    body_bytes: u64,
    digest: Sha256,
    /// Found by search after a loss, or a loss may have hit it: it never counts as complete.
    found: bool,
}

impl Message {
    pub fn new(exchange: Option<u64>, codings: Codings, head_bytes: u64, found: bool) -> Self {
        let digest = Sha256::new();
        Self {
            exchange,
            codings,
            wire_bytes: head_bytes,
            missed_bytes: 0,
            body_bytes: 0,
            digest,
            found,
        }
    }

    /// Body bytes after transfer decoding; `each` gets them after content decoding.
    pub fn body(&mut self, data: &[u8], mut each: impl FnMut(u64, &[u8])) {
        let Self {
            exchange,
            codings,
            body_bytes,
            digest,
            ..
        } = self;
        codings.decode(data, |decoded| {
            *body_bytes += decoded.len() as u64;
            digest.update(decoded);
            if let Some(exchange) = *exchange {
                each(exchange, decoded);
            }
        });
    }

    pub fn missed(&mut self, len: u64) {
        // The length of a gap in a damaged capture file may be anything.
        self.missed_bytes = self.missed_bytes.saturating_add(len);
        self.codings.broken();
    }

    /// Something of it may be missing, nobody knows how much.
    pub fn doubt(&mut self) {
        self.found = true;
        self.codings.broken();
    }

    /// The end, where `state` says how the framing ended.
    pub fn end(self, state: BodyState) -> BodyEnd {
        let state = match state {
            BodyState::Complete if self.missed_bytes > 0 || self.found => BodyState::Gap,
            BodyState::Complete => match self.codings.failed() {
                Some(why) => BodyState::Undecodable(why),
                None => BodyState::Complete,
            },
            other => other,
        };
        BodyEnd {
            state,
            wire_bytes: self.wire_bytes,
            body_bytes: self.body_bytes,
            missed_bytes: self.missed_bytes,
            body_sha256: self.digest.finalize().into(),
        }
    }
}
