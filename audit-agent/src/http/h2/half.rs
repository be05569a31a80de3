//! One direction of a stream.
//!
//! In: its fields, data, and what of that is missing. Out: body bytes, or the messages in them where it is gRPC. Never: the
//! end of an exchange, which is the stream's business.

use super::fields;
use crate::http::coding::Codings;
use crate::http::grpc::{Grpc, Piece};
use crate::http::message::Message;
use crate::http::{BodyEnd, BodyState, Headers, HttpEvent, Sink};

#[derive(Debug)]
pub struct Half {
    exchange: u64,
    response: bool,
    pub message: Message,
    /// What content-length says that is still to come; None when it does not.
    left: Option<u64>,
    grpc: Option<Grpc>,
    /// Something of it may be missing.
    doubted: bool,
}

impl Half {
    /// `doubtful`: not all of its fields are readable. `no_body`: it has none, whatever its length says.
    pub fn new(exchange: u64, response: bool, headers: &Headers, doubtful: bool, no_body: bool) -> Self {
        let codings = Codings::new(headers.all("content-encoding"));
        Self {
            exchange,
            response,
            message: Message::new(Some(exchange), codings, 0, doubtful),
            left: fields::content_length(headers).filter(|_| !no_body),
            grpc: Grpc::is(headers).then(|| Grpc::new(headers)),
            doubted: doubtful,
        }
    }

    pub fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }

    /// The other direction says that this one is gRPC too.
    pub fn assume_grpc(&mut self) {
        self.grpc.get_or_insert_with(|| Grpc::new(&Headers::default()));
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.grpc.as_ref().map_or(0, Grpc::held)
    }

    /// Gives up the message that is held.
    pub fn release(&mut self, sink: Sink<'_>) {
        self.with_grpc(sink, |grpc, each| grpc.release(each));
    }

    /// Body bytes; gives whether they are more than content-length says.
    pub fn data(&mut self, data: &[u8], sink: Sink<'_>) -> bool {
        let len = data.len() as u64;
        self.message.wire_bytes += len;
        let over = self.left.is_some_and(|left| left < len);
        self.left = self.left.map(|left| left.saturating_sub(len));
        if self.grpc.is_some() {
            self.with_grpc(sink, |grpc, each| grpc.push(data, each));
            return over;
        }
        let response = self.response;
        self.message.body(data, |exchange, data| {
            sink(match response {
                true => HttpEvent::ResponseBody { exchange, data },
                false => HttpEvent::RequestBody { exchange, data },
            });
        });
        over
    }

    /// `len` body bytes are missing.
    pub fn missed(&mut self, len: u64, sink: Sink<'_>) {
        self.message.missed(len);
        self.left = self.left.map(|left| left.saturating_sub(len));
        self.with_grpc(sink, |grpc, each| grpc.gap(len, each));
    }

    /// Something may be missing, nobody knows how much.
    pub fn doubt(&mut self, sink: Sink<'_>) {
        self.message.doubt();
        self.left = None;
        self.doubted = true;
        self.with_grpc(sink, Grpc::lose);
    }

    pub fn end(mut self, state: BodyState, sink: Sink<'_>) -> BodyEnd {
        self.with_grpc(sink, Grpc::finish);
        match (state, self.left) {
            // Its end may be among what is missing.
            (BodyState::Aborted, _) if self.doubted => self.message.end(BodyState::Gap),
            // A client that has all that content-length says may leave before the frame that ends the stream.
            (BodyState::Aborted, Some(0)) if self.message.missed_bytes == 0 => {
                self.message.end(BodyState::Complete)
            }
            (BodyState::Complete, Some(1..)) if self.message.missed_bytes == 0 => self
                .message
                .end(BodyState::Malformed("body is shorter than content-length")),
            _ => self.message.end(state),
        }
    }

    /// What is missing is counted at the end of the stream, what was seen with each message.
    fn with_grpc(&mut self, sink: Sink<'_>, act: impl FnOnce(&mut Grpc, &mut dyn FnMut(Piece<'_>))) {
        let Some(grpc) = &mut self.grpc else { return };
        let (exchange, response) = (self.exchange, self.response);
        let wire_bytes = &mut self.message.wire_bytes;
        act(grpc, &mut |piece| {
            sink(match piece {
                Piece::Message(data) => HttpEvent::Message {
                    exchange,
                    response,
                    binary: true,
                    data,
                    wire_bytes: std::mem::take(wire_bytes),
                },
                Piece::Lost(why) => HttpEvent::MessageLost {
                    exchange,
                    response,
                    why,
                    seen: std::mem::take(wire_bytes),
                    missed: 0,
                },
            });
        });
    }
}
