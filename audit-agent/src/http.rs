//! HTTP as a passive reader sees it (RFC 9110): HTTP/1.1 (RFC 9112), HTTP/2 (RFC 9113) and WebSocket (RFC 6455).
//!
//! In: pieces of the two directions of one connection, gaps included. Out: [`HttpEvent`]s, where a request
//! and its response share an `exchange` number. Never: IO, clocks, panics, growth beyond [`crate::limits`].

pub mod coding;
mod connection;
pub mod grpc;
mod h1;
mod h2;
mod message;
pub mod sse;
pub mod target;
mod websocket;

pub use connection::Connection;
pub use h2::hpack;

/// Where a reader's events go.
type Sink<'s> = &'s mut dyn FnMut(HttpEvent<'_>);

/// A piece of one direction of a connection, in order.
#[derive(Clone, Copy, Debug)]
pub enum Chunk<'a> {
    Data(&'a [u8]),
    /// So many bytes were on the wire and did not reach us.
    Gap(u64),
    /// The direction ended.
    Eof,
}

/// Header fields in the order they came; names in lower case.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The first value of `name` (lower case); values are decoded lossily as UTF-8.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of `name` (lower case).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// The protocol of a message.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HttpVersion {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl HttpVersion {
    /// As RFC 9110 writes it, with the minor version where there is one.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }

    fn of_minor(version: Option<u8>) -> Self {
        match version {
            Some(0) => Self::Http10,
            _ => Self::Http11,
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestHead {
    /// Empty, as the target, where the head is partial and it is not known ([`HttpEvent::HeadPartial`]).
    pub method: String,
    /// As it was sent: path and query, or an absolute URI.
    pub target: String,
    pub version: HttpVersion,
    pub headers: Headers,
}

impl RequestHead {
    /// The path without query, fragment, scheme and authority.
    pub fn path(&self) -> &str {
        target::path(&self.target)
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseHead {
    /// 0 where the head is partial and its status is not known ([`HttpEvent::HeadPartial`]).
    pub status: u16,
    pub version: HttpVersion,
    pub headers: Headers,
}

/// How a message ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyState {
    /// All of it was seen, from the head to the end that its framing promised.
    Complete,
    /// The connection ended before the framing did.
    Aborted,
    /// Bytes are missing inside it ([`BodyEnd::missed_bytes`]).
    Gap,
    /// The bytes break the protocol; what follows on the connection is skipped until the next message.
    Malformed(&'static str),
    /// A content coding that is unknown, broken or over its cap: body bytes were delivered up to there.
    Undecodable(&'static str),
}

/// Totals of one message body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BodyEnd {
    pub state: BodyState,
    /// Bytes on the wire that belong to the message: head, framing, trailers and body.
    pub wire_bytes: u64,
    /// Body bytes after transfer and content decoding, as they were delivered.
    pub body_bytes: u64,
    /// Bytes known to be missing.
    pub missed_bytes: u64,
    /// SHA-256 over the delivered body bytes.
    pub body_sha256: [u8; 32],
}

/// What one connection said. `exchange` counts from 0 on each connection.
#[derive(Clone, Debug)]
pub enum HttpEvent<'a> {
    RequestHead {
        exchange: u64,
        head: RequestHead,
    },
    /// Decoded body bytes (after chunked and content codings).
    RequestBody {
        exchange: u64,
        data: &'a [u8],
    },
    RequestEnd {
        exchange: u64,
        end: BodyEnd,
    },
    /// The final response; 1xx are not delivered, except 101 which is followed by [`HttpEvent::Upgraded`].
    ResponseHead {
        exchange: u64,
        head: ResponseHead,
    },
    ResponseBody {
        exchange: u64,
        data: &'a [u8],
    },
    /// A whole message: of a WebSocket, after [`HttpEvent::Upgraded`], where text is UTF-8; or of gRPC, in place of the body.
    Message {
        exchange: u64,
        response: bool,
        binary: bool,
        data: &'a [u8],
        /// With its framing and what came since the one before.
        wire_bytes: u64,
    },
    /// Messages of one direction are missing here, and why.
    MessageLost {
        exchange: u64,
        response: bool,
        why: &'static str,
        /// Bytes that were seen and are in no message, and bytes that were not seen.
        seen: u64,
        missed: u64,
    },
    /// A peer ends its WebSocket; its code (RFC 6455 section 7.4) and words.
    CloseFrame {
        exchange: u64,
        response: bool,
        code: Option<u16>,
        reason: &'a str,
    },
    /// Fields of a head of the exchange are missing: they refer to what was before our sight, were lost, or are over a cap.
    HeadPartial {
        exchange: u64,
    },
    /// Fields behind the body of a response (RFC 9110 section 6.5).
    Trailers {
        exchange: u64,
        fields: Headers,
    },
    /// The exchange is over, and no more events of it follow.
    ResponseEnd {
        exchange: u64,
        end: BodyEnd,
    },
    /// 101 or a 2xx to CONNECT: both directions are another protocol from here on.
    Upgraded {
        exchange: u64,
        protocol: String,
    },
    /// Bytes that belong to no exchange: before the first message boundary, or skipped to find the next.
    Skipped {
        response: bool,
        seen: u64,
        missed: u64,
    },
    /// A request whose head is missing from somewhere behind its request line; its bytes are skipped.
    HeadLost {
        head: RequestHead,
    },
    /// The connection begins with an answer: its request was on the wire, and nobody knows yet how much is missing.
    Unasked,
    /// Not HTTP so far: what comes of this connection later was found among bytes that are none.
    NotHttp,
}

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod tests;
