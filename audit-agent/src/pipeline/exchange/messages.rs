//! Exchanges of messages: one exchange, several calls.
//!
//! In: messages of an exchange that was upgraded. Out: a [`Finished`] for each call that ends while the exchange goes on.
//! Never: a byte counted in two calls.

use super::{Finished, Open};
use crate::call::CallError;
use crate::http::{BodyEnd, BodyState};
use crate::infer::{End, Ended, Message, Side};
use crate::limits::cut;
use sha2::{Digest, Sha256};

/// What one side sent since the last call ended.
#[derive(Debug, Default)]
struct Sent {
    wire_bytes: u64,
    body_bytes: u64,
    missed_bytes: u64,
    lost: bool,
    digest: Sha256,
}

/// What both sides sent as messages: client and server.
#[derive(Debug, Default)]
pub struct Traffic([Sent; 2]);

impl Sent {
    /// As the body of a message; what it counted begins anew.
    fn take(&mut self, state: BodyState) -> BodyEnd {
        let sent = std::mem::take(self);
        BodyEnd {
            state: match state {
                BodyState::Complete if sent.lost => BodyState::Gap,
                state => state,
            },
            wire_bytes: sent.wire_bytes,
            body_bytes: sent.body_bytes,
            missed_bytes: sent.missed_bytes,
            body_sha256: sent.digest.finalize().into(),
        }
    }

    /// `end` with what is counted here.
    fn with(&mut self, end: BodyEnd) -> BodyEnd {
        if self.wire_bytes == 0 && !self.lost {
            return end;
        }
        let sent = self.take(end.state);
        BodyEnd {
            wire_bytes: end.wire_bytes.saturating_add(sent.wire_bytes),
            missed_bytes: end.missed_bytes.saturating_add(sent.missed_bytes),
            ..sent
        }
    }
}

impl Traffic {
    fn side(&mut self, response: bool) -> &mut Sent {
        let [client, server] = &mut self.0;
        if response { server } else { client }
    }

    /// The ends of request and response, with the messages behind the last call that ended.
    pub fn rest(mut self, request: BodyEnd, response: BodyEnd) -> (BodyEnd, BodyEnd) {
        (self.side(false).with(request), self.side(true).with(response))
    }
}

impl Open {
    pub fn message(
        &mut self,
        response: bool,
        binary: bool,
        data: &[u8],
        wire_bytes: u64,
        time_ns: u64,
    ) -> Vec<Finished> {
        let sent = self.traffic.side(response);
        sent.wire_bytes = sent.wire_bytes.saturating_add(wire_bytes);
        sent.body_bytes = sent.body_bytes.saturating_add(data.len() as u64);
        sent.digest.update(data);
        self.decoder.message(Message {
            from: if response { Side::Server } else { Side::Client },
            binary,
            data,
            time_ns,
        });
        let ended = self.decoder.calls();
        ended
            .into_iter()
            .map(|ended| self.ended(ended, time_ns))
            .collect()
    }

    pub fn message_lost(&mut self, response: bool, seen: u64, missed: u64) {
        let sent = self.traffic.side(response);
        sent.lost = true;
        sent.wire_bytes = sent.wire_bytes.saturating_add(seen);
        sent.missed_bytes = sent.missed_bytes.saturating_add(missed);
        self.decoder
            .message_lost(if response { Side::Server } else { Side::Client });
    }

    /// A peer ends its WebSocket.
    pub fn closed(&mut self, code: Option<u16>, reason: &str) {
        /// Normal, going away, none given (RFC 6455 section 7.4.1).
        const FINE: [u16; 3] = [1000, 1001, 1005];
        let Some(code) = code.filter(|code| !FINE.contains(code)) else {
            return;
        };
        self.close_error.get_or_insert_with(|| CallError {
            kind: format!("websocket_close_{code}"),
            message: Some(cut(reason)).filter(|reason| !reason.is_empty()),
        });
    }

    fn ended(&mut self, ended: Ended, time_ns: u64) -> Finished {
        let state = match ended.end {
            End::Complete => BodyState::Complete,
            End::Aborted => BodyState::Aborted,
            End::Partial => BodyState::Gap,
        };
        let number = self.finished.number;
        self.finished.number.1 = number.1.saturating_add(1);
        Finished {
            call: ended.call,
            number,
            request: self.traffic.side(false).take(BodyState::Complete),
            response: self.traffic.side(true).take(state),
            start_ns: ended.start_ns,
            asked_ns: ended.asked_ns,
            end_ns: time_ns,
            ..self.finished.clone()
        }
    }
}

#[cfg(test)]
mod tests;
