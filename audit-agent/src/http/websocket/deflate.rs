//! permessage-deflate (RFC 7692): what was agreed, and the decoder of one direction.
//!
//! In: the extensions of the handshake's answer; payloads of compressed messages. Out: their content. Never: more than
//! [`limits::INFLATED_BYTES`] or [`limits::INFLATED_RATIO`] times the payload of one message; content after a loss that
//! it may refer to.

use crate::http::Headers;
use crate::limits;
use flate2::{Decompress, FlushDecompress, Status};

/// What the senders left out at the end of a message (section 7.2.1).
const TAIL: &[u8] = &[0x00, 0x00, 0xff, 0xff];

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Agreed {
    /// Messages may be compressed; whether those of client and server may refer to the ones before.
    pub deflate: Option<[bool; 2]>,
    /// An extension that is not known: payloads may be anything.
    pub unknown: bool,
}

impl Agreed {
    /// From the head of the answer to the handshake.
    pub fn new(headers: &Headers) -> Self {
        let mut agreed = Self::default();
        let named = headers
            .all("sec-websocket-extensions")
            .flat_map(|value| value.split(','));
        for extension in named.filter(|extension| !extension.trim().is_empty()) {
            let mut parts = extension.split(';').map(str::trim);
            if parts.next() != Some("permessage-deflate") || agreed.deflate.is_some() {
                agreed.unknown = true;
                continue;
            }
            let mut keeps = [true; 2];
            for part in parts {
                match part {
                    "client_no_context_takeover" => keeps[0] = false,
                    "server_no_context_takeover" => keeps[1] = false,
                    // The size of a window is for who compresses.
                    _ => {}
                }
            }
            agreed.deflate = Some(keeps);
        }
        agreed
    }
}

pub struct Inflater {
    state: Box<Decompress>,
    /// Messages may refer to the ones before.
    keeps: bool,
    input: u64,
    output: u64,
    /// What later messages may refer to is not known, or this one is beyond help.
    failed: Option<&'static str>,
    /// This message's stream had an end of its own.
    ended: bool,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflater")
            .field("keeps", &self.keeps)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    pub fn new(keeps: bool) -> Self {
        Self {
            state: Box::new(Decompress::new(false)),
            keeps,
            input: 0,
            output: 0,
            failed: None,
            ended: false,
        }
    }

    /// The next piece of a message; what comes out is added to `out` while that has less than `room` bytes. Gives false
    /// when it had more.
    pub fn push(&mut self, data: &[u8], out: &mut Vec<u8>, room: usize) -> bool {
        self.input = self.input.saturating_add(data.len() as u64);
        self.inflate(data, out, room)
    }

    fn inflate(&mut self, mut data: &[u8], out: &mut Vec<u8>, room: usize) -> bool {
        let mut fits = true;
        let mut scratch = [0; 16 * 1024];
        while self.failed.is_none() && !self.ended {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(data, &mut scratch, FlushDecompress::Sync);
            let read = usize::try_from(self.state.total_in() - read).unwrap_or(usize::MAX);
            let written = usize::try_from(self.state.total_out() - written).unwrap_or(usize::MAX);
            data = data.get(read..).unwrap_or_default();
            let piece = scratch.get(..written).unwrap_or_default();
            fits &= out.len() + piece.len() <= room;
            if fits {
                out.extend_from_slice(piece);
            }
            self.output = self.output.saturating_add(piece.len() as u64);
            self.judge(&status);
            let stuck = read + written == 0;
            if stuck && !data.is_empty() {
                self.failed.get_or_insert("broken compression of a message");
            }
            if stuck || (data.is_empty() && written < scratch.len()) {
                break;
            }
        }
        fits
    }

    fn judge(&mut self, status: &Result<Status, flate2::DecompressError>) {
        let allowed = self
            .input
            .saturating_mul(limits::INFLATED_RATIO)
            .min(limits::INFLATED_BYTES);
        match status {
            _ if self.output > allowed => self.failed = Some("message grows beyond its cap"),
            Ok(Status::StreamEnd) => self.ended = true,
            Ok(_) => {}
            Err(_) => self.failed = Some("broken compression of a message"),
        }
    }

    /// The message is over; gives why its content is not known.
    pub fn end(&mut self, out: &mut Vec<u8>, room: usize) -> Result<bool, &'static str> {
        let had_an_end = self.ended;
        let fits = self.inflate(TAIL, out, room);
        let failed = self.failed;
        self.begin_next(had_an_end);
        match failed {
            Some(why) => Err(why),
            None => Ok(fits),
        }
    }

    /// Bytes of a compressed message are missing.
    pub fn lose(&mut self) {
        self.failed.get_or_insert("bytes are missing before it");
    }

    fn begin_next(&mut self, had_an_end: bool) {
        (self.input, self.output, self.ended) = (0, 0, false);
        if !self.keeps {
            self.state.reset(false);
            self.failed = None;
        } else if self.failed.is_some() {
            self.failed = Some("message refers to one that is not known");
        } else if had_an_end {
            // Nobody ends a stream that goes on, though one may; what came before can't be referred to here.
            self.failed = Some("message refers to a stream that had ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(value: &str) -> Agreed {
        Agreed::new(&Headers(vec![("sec-websocket-extensions".into(), value.into())]))
    }

    #[test]
    fn reads_what_was_agreed() {
        assert_eq!(agreed("permessage-deflate").deflate, Some([true, true]));
        let one = agreed("permessage-deflate; server_no_context_takeover; client_max_window_bits=12");
        assert_eq!(one.deflate, Some([true, false]));
        assert!(agreed("x-webkit-thing").unknown);
        assert_eq!(Agreed::new(&Headers::default()), Agreed::default());
    }

    #[test]
    fn inflates_the_examples_of_the_rfc() {
        // RFC 7692 sections 7.2.3.1 and 7.2.3.2: the second message refers to the first.
        let mut inflater = Inflater::new(true);
        for packed in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            &[0xf2, 0x00, 0x11, 0x00, 0x00],
        ] {
            let mut out = Vec::new();
            inflater.push(packed, &mut out, 100);
            assert_eq!(inflater.end(&mut out, 100), Ok(true));
            assert_eq!(out, b"Hello");
        }
    }

    #[test]
    fn inflates_a_message_with_several_blocks_and_one_that_is_stored() {
        // Sections 7.2.3.3 and 7.2.3.5.
        for packed in [
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00][..],
            &[
                0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
            ],
        ] {
            let (mut inflater, mut out) = (Inflater::new(false), Vec::new());
            inflater.push(packed, &mut out, 100);
            assert_eq!(inflater.end(&mut out, 100), Ok(true));
            assert_eq!(out, b"Hello");
        }
    }

    #[test]
    fn a_message_whose_stream_ends_is_read() {
        // Section 7.2.3.4.
        let (mut inflater, mut out) = (Inflater::new(false), Vec::new());
        inflater.push(&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], &mut out, 100);
        assert_eq!(inflater.end(&mut out, 100), Ok(true));
        assert_eq!(out, b"Hello");
    }

    #[test]
    fn after_a_loss_only_messages_that_stand_alone_are_read() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        for keeps in [true, false] {
            let (mut inflater, mut out) = (Inflater::new(keeps), Vec::new());
            inflater.lose();
            assert!(inflater.end(&mut out, 100).is_err());
            inflater.push(&hello, &mut out, 100);
            assert_eq!(inflater.end(&mut out, 100).is_ok(), !keeps);
        }
    }
}
