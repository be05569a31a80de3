//! One direction of a WebSocket: where frames and messages begin and end.
//!
//! In: pieces in order, and gaps. Out: [`Piece`]s: whole messages, losses, the close. Never: a message of which bytes are
//! missing; more than one message held ([`limits::BODY_BYTES`]).
//!
//! The length of a frame still says where the next begins when a part of its payload is missing. Once the head of a frame
//! is missing the direction is lost for good: a payload may hold anything, so nothing in it proves where a frame begins.

use super::deflate::Inflater;
use super::frame::{Frame, HEAD_MAX, Kind};
use crate::limits;

/// What a piece of the direction was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    Message {
        binary: bool,
        data: &'a [u8],
        wire_bytes: u64,
    },
    Lost {
        why: &'static str,
        seen: u64,
        missed: u64,
    },
    Close {
        code: Option<u16>,
        reason: &'a str,
    },
    /// No peer sends this.
    Broken(&'static str),
}

type Each<'s> = &'s mut dyn FnMut(Piece<'_>);

#[derive(Clone, Copy, Debug)]
enum State {
    Head,
    /// In a payload of which so many bytes went by.
    Payload(Frame, u64),
    /// No frame is read any more, for this reason.
    Over(&'static str),
}

/// A message whose frames have begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    binary: bool,
    packed: bool,
    spoiled: Option<&'static str>,
}

#[derive(Debug)]
pub struct Direction {
    state: State,
    /// A head, or the payload of a control frame, as far as it has come.
    held: Vec<u8>,
    begun: Option<Begun>,
    /// The content of the message.
    data: Vec<u8>,
    /// Bytes since the last message, seen and missed.
    seen: u64,
    missed: u64,
    /// Whether compressed messages may refer to those before; None when none are compressed.
    keeps: Option<bool>,
    inflater: Option<Inflater>,
    /// Payloads are changed in a way that is not known.
    opaque: bool,
}

impl Direction {
    /// `keeps`: see [`super::deflate::Agreed::deflate`]. `opaque`: an extension is not known.
    pub fn new(keeps: Option<bool>, opaque: bool) -> Self {
        Self {
            state: State::Head,
            held: Vec::new(),
            begun: None,
            data: Vec::new(),
            seen: 0,
            missed: 0,
            keeps,
            inflater: None,
            opaque,
        }
    }

    /// Bytes held back, without the window of the decompressor (32 KiB).
    pub fn held(&self) -> usize {
        self.held.len() + self.data.len()
    }

    pub fn push(&mut self, mut data: &[u8], each: Each<'_>) {
        while !data.is_empty() {
            let taken = match self.state {
                State::Head => self.head(data, each),
                State::Payload(frame, done) => self.payload(frame, done, data, each),
                State::Over(why) => {
                    self.seen += data.len() as u64;
                    self.lost(why, each);
                    data.len()
                }
            };
            data = data.get(taken..).unwrap_or_default();
        }
    }

    /// `len` bytes are missing here.
    pub fn gap(&mut self, len: u64, each: Each<'_>) {
        self.missed = self.missed.saturating_add(len);
        let State::Payload(frame, done) = self.state else {
            return self.lose_place(each);
        };
        let left = frame.len - done;
        if !frame.is_control() {
            self.spoil("bytes of it are missing");
            if let Some(inflater) = self
                .inflater
                .as_mut()
                .filter(|_| self.begun.is_some_and(|b| b.packed))
            {
                inflater.lose();
            }
        }
        self.state = State::Payload(frame, done + len.min(left));
        if len >= left {
            self.held.clear();
            self.end_frame(frame, each);
        }
        if len > left {
            self.lose_place(each);
        }
    }

    /// Nothing more will come: what is not whole is lost.
    pub fn finish(&mut self, each: Each<'_>) {
        if self.begun.is_some() || self.missed > 0 {
            self.lost("message has no end", each);
        }
    }

    /// Nothing more is read.
    pub fn stop(&mut self, why: &'static str) {
        self.state = State::Over(why);
        self.begun = None;
        (self.held, self.data, self.inflater) = (Vec::new(), Vec::new(), None);
    }

    fn lose_place(&mut self, each: Each<'_>) {
        const WHY: &str = "nobody knows where the next frame begins";
        if !matches!(self.state, State::Over(_)) {
            self.stop(WHY);
        }
        self.lost(WHY, each);
    }

    /// What came since the last message is in none.
    fn lost(&mut self, why: &'static str, each: Each<'_>) {
        let (seen, missed) = (std::mem::take(&mut self.seen), std::mem::take(&mut self.missed));
        each(Piece::Lost { why, seen, missed });
    }

    fn spoil(&mut self, why: &'static str) {
        if let Some(begun) = &mut self.begun {
            begun.spoiled = begun.spoiled.or(Some(why));
        }
        self.data.clear();
    }

    fn head(&mut self, data: &[u8], each: Each<'_>) -> usize {
        // One byte after the other: how long it is, it says itself.
        for (at, byte) in data.iter().enumerate().take(HEAD_MAX) {
            self.held.push(*byte);
            self.seen += 1;
            match Frame::parse(&self.held) {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    self.begin_frame(frame, each);
                    return at + 1;
                }
                Err(why) => {
                    self.broken(why, each);
                    return at + 1;
                }
            }
        }
        data.len().min(HEAD_MAX)
    }

    fn broken(&mut self, why: &'static str, each: Each<'_>) {
        self.stop(why);
        self.lost(why, each);
        each(Piece::Broken(why));
    }

    fn begin_frame(&mut self, frame: Frame, each: Each<'_>) {
        self.held.clear();
        if frame.packed && (self.keeps.is_none() || frame.kind == Kind::Continuation) {
            return self.broken("frame is compressed without agreement", each);
        }
        self.begin_message(frame, each);
        self.state = State::Payload(frame, 0);
        if frame.len == 0 {
            self.end_frame(frame, each);
        }
    }

    fn begin_message(&mut self, frame: Frame, each: Each<'_>) {
        let spoiled = match (frame.kind, self.begun) {
            (Kind::Close | Kind::Heartbeat, _) | (Kind::Continuation, Some(_)) => return,
            (Kind::Continuation, None) => Some("continuation of no message"),
            (Kind::Text | Kind::Binary, None) => None,
            (Kind::Text | Kind::Binary, Some(begun)) => {
                self.lost("another message begins before its end", each);
                if let Some(inflater) = self.inflater.as_mut().filter(|_| begun.packed) {
                    inflater.lose();
                    let _ = inflater.end(&mut self.data, 0);
                }
                None
            }
        };
        self.data.clear();
        self.begun = Some(Begun {
            binary: frame.kind == Kind::Binary,
            packed: frame.packed,
            spoiled: spoiled.or(self.opaque.then_some("unknown extension")),
        });
        if let (true, None, Some(keeps)) = (frame.packed, &self.inflater, self.keeps) {
            self.inflater = Some(Inflater::new(keeps));
        }
    }

    fn payload(&mut self, frame: Frame, done: u64, data: &[u8], each: Each<'_>) -> usize {
        let left = usize::try_from(frame.len - done).unwrap_or(usize::MAX);
        let part = data.get(..left.min(data.len())).unwrap_or_default();
        self.seen += part.len() as u64;
        match frame.mask {
            Some(mask) => {
                let plain = unmask(part, mask, done);
                self.content(frame, &plain);
            }
            None => self.content(frame, part),
        }
        self.state = State::Payload(frame, done + part.len() as u64);
        if part.len() == left {
            self.end_frame(frame, each);
        }
        part.len()
    }

    fn content(&mut self, frame: Frame, part: &[u8]) {
        if frame.is_control() {
            return self.held.extend_from_slice(part);
        }
        let Some(begun) = self.begun else { return };
        let fits = match &mut self.inflater {
            // The window has to follow even what is not kept.
            Some(inflater) if begun.packed => {
                let room = begun.spoiled.map_or(limits::BODY_BYTES, |_| 0);
                inflater.push(part, &mut self.data, room)
            }
            _ if begun.spoiled.is_some() => true,
            _ if self.data.len() + part.len() > limits::BODY_BYTES => false,
            _ => {
                self.data.extend_from_slice(part);
                true
            }
        };
        if !fits {
            self.spoil("message is over its cap");
        }
    }

    fn end_frame(&mut self, frame: Frame, each: Each<'_>) {
        self.state = State::Head;
        match frame.kind {
            Kind::Heartbeat if self.missed > 0 => self.lost("bytes of a control frame are missing", each),
            Kind::Heartbeat => {}
            Kind::Close => {
                let payload = std::mem::take(&mut self.held);
                self.finish(each);
                self.stop("bytes behind the close");
                // A part of it would say something else.
                let whole = payload.len() as u64 == frame.len;
                let (code, reason) = if whole { close(&payload) } else { (None, "") };
                each(Piece::Close { code, reason });
            }
            Kind::Continuation | Kind::Text | Kind::Binary if frame.last => self.end_message(each),
            Kind::Continuation | Kind::Text | Kind::Binary => {}
        }
        self.held.clear();
    }

    fn end_message(&mut self, each: Each<'_>) {
        let Some(begun) = self.begun.take() else { return };
        let mut data = std::mem::take(&mut self.data);
        let mut spoiled = begun.spoiled;
        if let Some(inflater) = self.inflater.as_mut().filter(|_| begun.packed) {
            let room = spoiled.map_or(limits::BODY_BYTES, |_| 0);
            spoiled = match inflater.end(&mut data, room) {
                Err(why) => spoiled.or(Some(why)),
                Ok(false) => spoiled.or(Some("message is over its cap")),
                Ok(true) => spoiled,
            };
        }
        if !begun.binary && spoiled.is_none() && std::str::from_utf8(&data).is_err() {
            spoiled = Some("text is not UTF-8");
        }
        match spoiled {
            Some(why) => self.lost(why, each),
            None => {
                each(Piece::Message {
                    binary: begun.binary,
                    data: &data,
                    wire_bytes: std::mem::take(&mut self.seen),
                });
            }
        }
        /// A long message once is no reason to keep its room.
        const KEPT: usize = 64 * 1024;
        if data.capacity() <= KEPT {
            data.clear();
            self.data = data;
        }
    }
}

/// The payload without its mask (RFC 6455 section 5.3); `done` bytes of it went by before.
fn unmask(part: &[u8], mut mask: [u8; 4], done: u64) -> Vec<u8> {
    mask.rotate_left((done % 4) as usize);
    let mut plain = part.to_vec();
    for four in plain.chunks_mut(4) {
        for (byte, key) in four.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    plain
}

/// What a close says (section 5.5.1).
fn close(payload: &[u8]) -> (Option<u16>, &str) {
    match payload.split_first_chunk::<2>() {
        Some((code, reason)) => (
            Some(u16::from_be_bytes(*code)),
            std::str::from_utf8(reason).unwrap_or_default(),
        ),
        None => (None, ""),
    }
}
