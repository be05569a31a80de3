//! One direction of an HTTP/2 connection: where frames begin and end.
//!
//! In: pieces in order, and gaps. Out: [`Step`]s: whole field blocks, the bytes of DATA frames, the few control frames that say
//! something of a message. Never: more than one field block held ([`limits::HTTP_HEAD_BYTES`]); meaning of fields.

mod gap;
mod step;

pub use step::{Step, Unreadable};

use super::frame::{END_HEADERS, END_STREAM, Frame, HEAD, Kind, PADDED};
use crate::limits;

/// What every client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// In the client's preface.
    Preface,
    /// Before or in the head of a frame.
    Head,
    /// Before the length of the padding of a DATA frame.
    PadLength(Frame),
    Data {
        frame: Frame,
        data: u32,
        padding: u32,
    },
    /// In a payload that is held until it is whole; `spoiled` when a part of it is missing or it is over its cap.
    Payload {
        frame: Frame,
        left: u32,
        spoiled: Option<Unreadable>,
    },
    /// In a payload of no interest.
    Pass {
        left: u32,
    },
    /// The place is lost: looking for the head of a frame.
    Search,
    Done,
}

/// A field block whose frames have begun (section 6.10).
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    end: bool,
    promise: bool,
    spoiled: Option<Unreadable>,
}

type Each<'s> = &'s mut dyn FnMut(Step<'_>);

#[derive(Debug)]
pub struct Direction {
    state: State,
    /// A head or a payload as far as it has come; in a search, what may be the beginning of a frame.
    held: Vec<u8>,
    block: Option<Block>,
    /// The parts of the field block.
    fields: Vec<u8>,
}

impl Direction {
    /// `preface`: the client's direction from its first byte on. `joined`: begins with a search.
    pub fn new(preface: bool, joined: bool) -> Self {
        Self {
            state: match (joined, preface) {
                (true, _) => State::Search,
                (false, true) => State::Preface,
                (false, false) => State::Head,
            },
            held: Vec::new(),
            block: None,
            fields: Vec::new(),
        }
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held.len() + self.fields.len()
    }

    /// Reads nothing any more.
    pub fn stop(&mut self) {
        *self = Self {
            state: State::Done,
            ..Self::new(false, false)
        };
    }

    pub fn push(&mut self, mut data: &[u8], each: Each<'_>) {
        while !data.is_empty() {
            let taken = self.step(data, each);
            data = data.get(taken..).unwrap_or_default();
        }
    }

    /// Takes a part of `data`, at least one byte.
    fn step(&mut self, data: &[u8], each: Each<'_>) -> usize {
        match self.state {
            State::Preface => self.preface(data, each),
            State::Head => self.head(data, each),
            State::PadLength(frame) => {
                let padding = u32::from(data.first().copied().unwrap_or_default());
                each(Step::Framing {
                    stream: frame.stream,
                    len: 1,
                });
                self.padded(frame, padding, each);
                1
            }
            State::Data {
                frame,
                data: left,
                padding,
            } => self.data(frame, left, padding, data, each),
            State::Payload { frame, left, spoiled } => self.payload(frame, left, spoiled, data, each),
            State::Pass { left } => {
                let taken = data.len().min(left as usize);
                self.pass(left - taken as u32);
                taken
            }
            State::Search => {
                self.held.extend_from_slice(data);
                self.search(each);
                data.len()
            }
            State::Done => data.len(),
        }
    }

    fn preface(&mut self, data: &[u8], each: Each<'_>) -> usize {
        let want = PREFACE.get(self.held.len()..).unwrap_or_default();
        let taken = data.len().min(want.len());
        let (part, expected) = (
            data.get(..taken).unwrap_or_default(),
            want.get(..taken).unwrap_or_default(),
        );
        if part != expected {
            self.state = State::Done;
            each(Step::Broken("no HTTP/2 preface"));
            return data.len();
        }
        self.held.extend_from_slice(part);
        if self.held.len() == PREFACE.len() {
            self.begin_head();
        }
        taken
    }

    fn begin_head(&mut self) {
        self.held.clear();
        self.state = State::Head;
    }

    fn head(&mut self, data: &[u8], each: Each<'_>) -> usize {
        let taken = data.len().min(HEAD - self.held.len().min(HEAD));
        self.held.extend_from_slice(data.get(..taken).unwrap_or_default());
        if let Some(head) = self.held.first_chunk::<HEAD>() {
            let frame = Frame::parse(head);
            self.frame(frame, each);
        }
        taken
    }

    /// A frame begins.
    fn frame(&mut self, frame: Frame, each: Each<'_>) {
        let continues = frame.kind == Kind::Continuation;
        // The frames of a field block follow one another; nothing may stand between them.
        let torn = match self.block {
            Some(block) => !continues || block.stream != frame.stream,
            None => continues,
        };
        if !frame.valid() || torn {
            let why = if torn {
                "field block is torn"
            } else {
                "frame of wrong length or stream"
            };
            return self.broken(why, each);
        }
        self.held.clear();
        if frame.stream != 0 {
            each(Step::Framing {
                stream: frame.stream,
                len: HEAD as u64,
            });
        }
        self.state = match frame.kind {
            Kind::Data if frame.has(PADDED) => State::PadLength(frame),
            Kind::Data => State::Data {
                frame,
                data: frame.len,
                padding: 0,
            },
            Kind::Headers | Kind::PushPromise | Kind::Continuation | Kind::RstStream | Kind::Goaway => {
                State::Payload {
                    frame,
                    left: frame.len,
                    spoiled: None,
                }
            }
            _ => State::Pass { left: frame.len },
        };
        self.begin_block(frame);
        match self.state {
            State::Data { data: 0, .. } => self.end_data(frame, each),
            State::Payload { left: 0, spoiled, .. } => self.end_payload(frame, spoiled, each),
            State::Pass { left } => self.pass(left),
            _ => {}
        }
    }

    fn begin_block(&mut self, frame: Frame) {
        if matches!(frame.kind, Kind::Headers | Kind::PushPromise) {
            self.fields.clear();
            self.block = Some(Block {
                stream: frame.stream,
                end: frame.kind == Kind::Headers && frame.has(END_STREAM),
                promise: frame.kind == Kind::PushPromise,
                spoiled: None,
            });
        }
    }

    fn pass(&mut self, left: u32) {
        match left {
            0 => self.begin_head(),
            left => self.state = State::Pass { left },
        }
    }

    fn padded(&mut self, frame: Frame, padding: u32, each: Each<'_>) {
        match (frame.len - 1).checked_sub(padding) {
            None => self.broken("more padding than frame", each),
            Some(data) => {
                self.state = State::Data { frame, data, padding };
                if data + padding == 0 {
                    self.end_data(frame, each);
                }
            }
        }
    }

    fn data(&mut self, frame: Frame, left: u32, padding: u32, data: &[u8], each: Each<'_>) -> usize {
        let stream = frame.stream;
        let taken = data.len().min(left as usize);
        if taken > 0 {
            each(Step::Data {
                stream,
                bytes: data.get(..taken).unwrap_or_default(),
            });
        }
        let left = left - taken as u32;
        let passed = (data.len() - taken).min(padding as usize);
        if passed > 0 {
            each(Step::Framing {
                stream,
                len: passed as u64,
            });
        }
        let padding = padding - passed as u32;
        self.state = State::Data {
            frame,
            data: left,
            padding,
        };
        if left + padding == 0 {
            self.end_data(frame, each);
        }
        taken + passed
    }

    fn end_data(&mut self, frame: Frame, each: Each<'_>) {
        self.begin_head();
        if frame.has(END_STREAM) {
            each(Step::End { stream: frame.stream });
        }
    }

    fn payload(
        &mut self,
        frame: Frame,
        left: u32,
        mut spoiled: Option<Unreadable>,
        data: &[u8],
        each: Each<'_>,
    ) -> usize {
        let taken = data.len().min(left as usize);
        if self.held() + taken > limits::HTTP_HEAD_BYTES {
            spoiled = spoiled.or(Some(Unreadable::OverCap));
            self.held.clear();
        }
        if spoiled.is_none() {
            self.held.extend_from_slice(data.get(..taken).unwrap_or_default());
        }
        if frame.stream != 0 && taken > 0 {
            each(Step::Framing {
                stream: frame.stream,
                len: taken as u64,
            });
        }
        self.state = State::Payload {
            frame,
            left: left - taken as u32,
            spoiled,
        };
        if taken == left as usize {
            self.end_payload(frame, spoiled, each);
        }
        taken
    }

    fn end_payload(&mut self, frame: Frame, spoiled: Option<Unreadable>, each: Each<'_>) {
        let payload = std::mem::take(&mut self.held);
        self.begin_head();
        match frame.kind {
            Kind::RstStream => each(Step::Reset { stream: frame.stream }),
            Kind::Goaway => {
                if let (Some(last), None) = (payload.first_chunk::<4>(), spoiled) {
                    let last = u32::from_be_bytes(*last) & 0x7fff_ffff;
                    each(Step::Goaway { last });
                }
            }
            _ => self.end_fields_frame(frame, &payload, spoiled, each),
        }
        self.held = payload;
        self.held.clear();
    }

    /// A frame with a part of a field block is over.
    fn end_fields_frame(
        &mut self,
        frame: Frame,
        payload: &[u8],
        spoiled: Option<Unreadable>,
        each: Each<'_>,
    ) {
        let Some(block) = &mut self.block else { return };
        match frame.fragment(payload) {
            Some(part) if spoiled.is_none() => self.fields.extend_from_slice(part),
            _ => block.spoiled = block.spoiled.or(spoiled).or(Some(Unreadable::Malformed)),
        }
        if !frame.has(END_HEADERS) {
            return;
        }
        let Block {
            stream,
            end,
            promise,
            spoiled,
        } = *block;
        self.block = None;
        let fields = std::mem::take(&mut self.fields);
        match spoiled {
            Some(why) if promise => each(Step::Unreadable {
                stream: 0,
                end: false,
                why,
            }),
            Some(why) => each(Step::Unreadable { stream, end, why }),
            None if promise => each(Step::Promise { block: &fields }),
            None => each(Step::Fields {
                stream,
                block: &fields,
                end,
            }),
        }
        self.fields = fields;
        self.fields.clear();
    }

    fn broken(&mut self, why: &'static str, each: Each<'_>) {
        each(Step::Broken(why));
        self.lose(each);
    }
}
