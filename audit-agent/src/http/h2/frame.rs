//! Heads of HTTP/2 frames (RFC 9113 section 4.1 and 6).
//!
//! In: 9 bytes. Out: what they say, and whether they can be believed without knowing where they stand. Never: what a payload means.

/// Bytes of a frame's head.
pub const HEAD: usize = 9;

pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;
pub const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const ACK: u8 = 0x1;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    Goaway,
    WindowUpdate,
    Continuation,
    /// PRIORITY_UPDATE (RFC 9218) and others, which are to be ignored.
    Extension(u8),
}

impl Kind {
    fn of(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::Goaway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            other => Self::Extension(other),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Bytes of the payload.
    pub len: u32,
    pub kind: Kind,
    pub flags: u8,
    /// 0 for the connection itself.
    pub stream: u32,
    reserved: bool,
}

impl Frame {
    pub fn parse(head: &[u8; HEAD]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let stream = u32::from_be_bytes(stream);
        Self {
            len: u32::from_be_bytes([0, a, b, c]),
            kind: Kind::of(kind),
            flags,
            stream: stream & 0x7fff_ffff,
            reserved: stream >> 31 != 0,
        }
    }

    /// The part of a field block in the frame's payload: without padding, priority and promised stream; None when the payload is too
    /// short for them.
    pub fn fragment<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if self.kind == Kind::Continuation {
            return Some(payload);
        }
        let (padding, rest) = match self.has(PADDED) {
            true => payload
                .split_first()
                .map(|(len, rest)| (usize::from(*len), rest))?,
            false => (0, payload),
        };
        let before = match self.kind {
            Kind::PushPromise => 4,
            _ if self.has(PRIORITY) => 5,
            _ => 0,
        };
        rest.get(before..rest.len().checked_sub(padding)?)
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the length and the stream are ones that this kind may have; peers end the connection otherwise.
    pub fn valid(&self) -> bool {
        let (len, own) = (self.len, self.stream != 0);
        match self.kind {
            Kind::Data => own && (!self.has(PADDED) || len > 0),
            Kind::Headers => own && len >= u32::from(self.has(PADDED)) + 5 * u32::from(self.has(PRIORITY)),
            Kind::PushPromise => own && len >= 4 + u32::from(self.has(PADDED)),
            Kind::Continuation => own,
            Kind::Priority => own && len == 5,
            Kind::RstStream => own && len == 4,
            Kind::Settings if self.has(ACK) => !own && len == 0,
            Kind::Settings => !own && len % 6 == 0,
            Kind::Ping => !own && len == 8,
            Kind::Goaway => !own && len >= 8,
            Kind::WindowUpdate => len == 4,
            Kind::Extension(_) => true,
        }
    }

    /// Whether this is the head of a frame where anything could stand: nothing but what senders really send.
    pub fn believable(&self) -> bool {
        /// Most send 16 KiB at most, gRPC sends more. Text is always longer.
        const LEN_MAX: u32 = 64 * 1024;
        const PRIORITY_UPDATE: u8 = 0x10;
        /// Millions of requests on one connection.
        const STREAM_MAX: u32 = 1 << 24;
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            Kind::Settings | Kind::Ping => ACK,
            Kind::Extension(PRIORITY_UPDATE) if self.stream == 0 => 0,
            Kind::Extension(_) => return false,
            _ => 0,
        };
        let flags_fit = self.flags & !flags == 0;
        // Promised streams are even, and hardly anybody promises.
        let stream_fits = self.stream == 0 || (self.stream < STREAM_MAX && !self.stream.is_multiple_of(2));
        // Zeros are everywhere; data without data is sent for its flag only.
        let says_something = self.kind != Kind::Data || self.len > 0 || self.has(END_STREAM);
        self.valid() && !self.reserved && self.len < LEN_MAX && flags_fit && stream_fits && says_something
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_frame() {
        for text in [
            b"POST /v1/",
            b"HTTP/1.1 ",
            b"data: {\"a",
            b"\r\n\r\n{\"id\"",
            b"\n\n\n\n\n\n\n\n\n",
        ] {
            assert!(!Frame::parse(text).believable(), "{text:?}");
        }
    }

    #[test]
    fn frames_of_wrong_length_or_stream_are_not_believed() {
        let head = |len: u8, kind: u8, flags: u8, stream: u8| {
            Frame::parse(&[0, 0, len, kind, flags, 0, 0, 0, stream]).believable()
        };
        assert!(head(8, 6, 0, 0) && !head(7, 6, 0, 0) && !head(8, 6, 0, 1), "PING");
        assert!(head(5, 0, 1, 1) && !head(5, 0, 1, 0) && !head(5, 0, 4, 1), "DATA");
        assert!(
            head(12, 4, 0, 0) && !head(13, 4, 0, 0) && !head(6, 4, 1, 0),
            "SETTINGS"
        );
        assert!(head(4, 3, 0, 1) && !head(4, 3, 0, 0), "RST_STREAM");
    }
}
