//! gRPC messages in the body of a request or a response (gRPC over HTTP/2, "Length-Prefixed-Message").
//!
//! In: body bytes of one direction in order, and how many are missing between. Out: whole messages, decompressed. Never: a
//! message of which bytes are missing; more than one message held ([`limits::BODY_BYTES`]); their protobuf.

use super::Headers;
use crate::limits;
use flate2::read::{GzDecoder, ZlibDecoder};
use std::io::Read;

/// Bytes before a message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// What a piece of the body was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    Message(&'a [u8]),
    /// A message, or all that follow, and why.
    Lost(&'static str),
}

type Each<'s> = &'s mut dyn FnMut(Piece<'_>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Encoding {
    Identity,
    Gzip,
    Zlib,
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Prefix,
    /// In a message of which so many bytes are still to come.
    Message {
        packed: bool,
        left: u64,
        spoiled: Option<&'static str>,
    },
    /// Nothing is read any more, for this reason.
    Over(&'static str),
}

/// One direction of a gRPC call.
#[derive(Debug)]
pub struct Grpc {
    encoding: Encoding,
    state: State,
    /// The prefix or the message as far as it has come.
    held: Vec<u8>,
}

impl Grpc {
    /// Whether the body of a message with these fields is gRPC. gRPC-Web, which has another framing, is not.
    pub fn is(headers: &Headers) -> bool {
        let kind = headers
            .first("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        kind.strip_prefix("application/grpc")
            .is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'+' | b';' | b' ')))
    }

    pub fn new(headers: &Headers) -> Self {
        let encoding = match headers.first("grpc-encoding") {
            None | Some("identity") => Encoding::Identity,
            Some("gzip") => Encoding::Gzip,
            Some("deflate") => Encoding::Zlib,
            Some(_) => Encoding::Unknown,
        };
        Self {
            encoding,
            state: State::Prefix,
            held: Vec::new(),
        }
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    pub fn push(&mut self, mut data: &[u8], each: Each<'_>) {
        while !data.is_empty() {
            let taken = match self.state {
                State::Prefix => self.prefix(data, each),
                State::Message {
                    packed,
                    left,
                    spoiled,
                } => self.message(packed, left, spoiled, data, each),
                State::Over(why) => {
                    each(Piece::Lost(why));
                    data.len()
                }
            };
            data = data.get(taken..).unwrap_or_default();
        }
    }

    /// `len` bytes are missing here.
    pub fn gap(&mut self, len: u64, each: Each<'_>) {
        match self.state {
            State::Message { packed, left, .. } if len <= left => {
                self.held.clear();
                let spoiled = Some("bytes of it are missing");
                self.state = State::Message {
                    packed,
                    left: left - len,
                    spoiled,
                };
                if len == left {
                    self.end(packed, spoiled, each);
                }
            }
            _ => self.lose(each),
        }
    }

    /// Nobody knows how much is missing here.
    pub fn lose(&mut self, each: Each<'_>) {
        self.over("nobody knows where the next message begins", each);
    }

    /// The message that is held takes too much room.
    pub fn release(&mut self, each: Each<'_>) {
        match &mut self.state {
            State::Message { spoiled, .. } => {
                *spoiled = spoiled.or(Some("no room for so many messages at once"));
                self.held = Vec::new();
            }
            State::Prefix | State::Over(_) => self.lose(each),
        }
    }

    /// The body is over.
    pub fn finish(&mut self, each: Each<'_>) {
        let inside = matches!(self.state, State::Message { .. }) || !self.held.is_empty();
        if inside {
            self.over("message has no end", each);
        }
    }

    fn over(&mut self, why: &'static str, each: Each<'_>) {
        self.held = Vec::new();
        self.state = State::Over(why);
        each(Piece::Lost(why));
    }

    fn prefix(&mut self, data: &[u8], each: Each<'_>) -> usize {
        let taken = data.len().min(PREFIX - self.held.len().min(PREFIX));
        self.held.extend_from_slice(data.get(..taken).unwrap_or_default());
        let Some([packed, a, b, c, d]) = self.held.first_chunk::<PREFIX>().copied() else {
            return taken;
        };
        self.held.clear();
        if packed > 1 {
            self.over("prefix of no message", each);
            return taken;
        }
        let packed = packed == 1;
        let left = u64::from(u32::from_be_bytes([a, b, c, d]));
        let spoiled = (left > limits::BODY_BYTES as u64).then_some("message is over its cap");
        self.state = State::Message {
            packed,
            left,
            spoiled,
        };
        if left == 0 {
            self.end(packed, None, each);
        }
        taken
    }

    fn message(
        &mut self,
        packed: bool,
        left: u64,
        spoiled: Option<&'static str>,
        data: &[u8],
        each: Each<'_>,
    ) -> usize {
        let taken = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if spoiled.is_none() {
            self.held.extend_from_slice(data.get(..taken).unwrap_or_default());
        }
        let left = left - taken as u64;
        self.state = State::Message {
            packed,
            left,
            spoiled,
        };
        if left == 0 {
            self.end(packed, spoiled, each);
        }
        taken
    }

    fn end(&mut self, packed: bool, spoiled: Option<&'static str>, each: Each<'_>) {
        self.state = State::Prefix;
        let held = std::mem::take(&mut self.held);
        let content = match (spoiled, packed) {
            (Some(why), _) => Err(why),
            (None, true) => unpack(self.encoding, &held).map(Some),
            (None, false) => Ok(None),
        };
        match content {
            Ok(Some(content)) => each(Piece::Message(&content)),
            Ok(None) => each(Piece::Message(&held)),
            Err(why) => each(Piece::Lost(why)),
        }
    }
}

/// The content of a compressed message.
fn unpack(encoding: Encoding, packed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut content = Vec::new();
    let cap = limits::BODY_BYTES as u64 + 1;
    let read = match encoding {
        // The field that names it may be one that is not known.
        Encoding::Identity => return Err("compressed message without an encoding"),
        Encoding::Unknown => return Err("unknown encoding of a message"),
        Encoding::Gzip => GzDecoder::new(packed).take(cap).read_to_end(&mut content),
        Encoding::Zlib => ZlibDecoder::new(packed).take(cap).read_to_end(&mut content),
    };
    match read {
        Err(_) => Err("broken compression of a message"),
        Ok(_) if content.len() > limits::BODY_BYTES => Err("message is over its cap"),
        Ok(_) => Ok(content),
    }
}

#[cfg(test)]
mod tests;
