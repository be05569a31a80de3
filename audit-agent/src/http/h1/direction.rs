//! One direction of a connection: where messages begin and end.
//!
//! In: pieces in order. Out: [`Step`]s: a whole head, body bytes, the end of a body. Never: pairing of requests
//! with responses, which is the connection's business; more than one head or line is held.

use super::head::{Framing, is_request_line, is_status_line};
use super::lines::{chunk_size, head_end};
use crate::limits;

/// Longest start line that a search accepts.
const START_LINE_MAX: usize = 8 * 1024;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Before or in a head.
    Head,
    /// The caller was given a head and has not said how it goes on.
    Framing,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    /// The line end behind a chunk's data.
    ChunkEnd,
    Trailers,
    UntilClose,
    /// The place in the stream is lost: looking for a start line.
    Search,
    /// Nothing more is read.
    Done,
}

/// What a piece of the stream was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step<'a> {
    /// A head, up to and with its empty line; answer with [`Direction::body`]. `found` after a search.
    Head {
        bytes: &'a [u8],
        found: bool,
    },
    /// Bytes of framing: they belong to the message, not to its body.
    Framing(u64),
    Body(&'a [u8]),
    /// Bytes of the body that are missing.
    Missed(u64),
    /// The message ended as its framing promised.
    End,
    /// The message can't be followed any more, for this reason, which is in so many bytes of framing; a search begins.
    Broken(&'static str, u64),
    /// The message can't be followed any more, since this many bytes are missing; a search begins.
    Lost(u64),
    /// Bytes that belong to no message.
    Skipped {
        seen: u64,
        missed: u64,
    },
}

#[derive(Debug)]
pub struct Direction {
    response: bool,
    state: State,
    /// The head, or the line of framing or search, as far as it has come.
    held: Vec<u8>,
    /// A search is in a line whose start was not seen, or which is too long.
    line_spoiled: bool,
    found: bool,
    /// Bytes of the line that a search is in, which may be the beginning of a head.
    line: u64,
    /// Bytes that were held back for a head and are in none.
    dropped: u64,
    /// A connection was joined, and nothing but a beginning has been seen of this direction so far.
    begins_here: bool,
    /// Bytes that searches have passed by so far.
    pub searched: u64,
}

impl Direction {
    /// `joined` directions begin with a search.
    pub fn new(response: bool, joined: bool) -> Self {
        let state = if joined { State::Search } else { State::Head };
        Self {
            response,
            state,
            held: Vec::new(),
            line_spoiled: false,
            found: false,
            line: 0,
            dropped: 0,
            begins_here: joined,
            searched: 0,
        }
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Between a head and the end of its body.
    pub fn in_body(&self) -> bool {
        !matches!(self.state, State::Head | State::Search | State::Done)
    }

    pub fn reads_until_close(&self) -> bool {
        self.state == State::UntilClose
    }

    /// Whether the next head is one that a search led to, which is so of what follows an interim one.
    pub fn next_is_found(&mut self, found: bool) {
        self.found = found;
    }

    /// A head is begun and not whole.
    pub fn in_head(&self) -> bool {
        self.state == State::Head && !self.held.is_empty()
    }

    /// The request line of a head that is begun and not whole.
    pub fn begun_line(&self) -> Option<&str> {
        let end = self.held.iter().position(|byte| *byte == b'\n')?;
        let line = self.held.get(..end)?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let is_one = self.state == State::Head && !self.response && is_request_line(line);
        std::str::from_utf8(line).ok().filter(|_| is_one)
    }

    /// How the message goes on whose head was just given.
    pub fn body(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
            Framing::Tunnel => State::Done,
        };
    }

    /// The head that was just given is not one.
    pub fn refuse(&mut self) {
        self.search();
    }

    /// Reads nothing any more; gives what was held back.
    pub fn stop(&mut self) -> Vec<u8> {
        self.state = State::Done;
        self.line = 0;
        std::mem::take(&mut self.held)
    }

    /// Nothing more comes.
    pub fn over(&mut self) {
        self.drop_held();
        self.state = State::Done;
    }

    /// Bytes that were held back for a head and are in none, since this was asked last.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn drop_held(&mut self) {
        self.dropped += match self.state {
            State::Head => self.held.len() as u64,
            _ => std::mem::take(&mut self.line),
        };
        self.held.clear();
    }

    /// A message that was joined in its middle is over, as its answer shows: what comes next may be the next one, though
    /// no line end parts it from a body that has none.
    pub fn ends_unseen(&mut self) {
        if let State::Search = self.state {
            self.search();
        }
    }

    fn search(&mut self) {
        self.drop_held();
        self.state = State::Search;
        self.line_spoiled = false;
    }

    /// Takes one step into `data`; gives how many bytes it took and what they were. Takes at least one byte
    /// or changes the state; None when all was held back or nothing is read.
    pub fn step<'a>(&'a mut self, data: &'a [u8]) -> (usize, Option<Step<'a>>) {
        match self.state {
            State::Head => self.head(data),
            State::Length(left) => {
                let take = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.state = State::Length(left - take as u64);
                match take {
                    0 => self.end(0),
                    _ => (take, data.get(..take).map(Step::Body)),
                }
            }
            State::ChunkData(left) => {
                let take = data.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let rest = left - take as u64;
                self.state = if rest == 0 {
                    State::ChunkEnd
                } else {
                    State::ChunkData(rest)
                };
                (take, data.get(..take).map(Step::Body))
            }
            State::UntilClose => (data.len(), Some(Step::Body(data))),
            State::ChunkSize | State::ChunkEnd | State::Trailers => self.chunk_line(data),
            State::Search => self.search_line(data),
            State::Framing => (data.len(), None),
            State::Done => {
                let seen = data.len() as u64;
                (data.len(), Some(Step::Skipped { seen, missed: 0 }))
            }
        }
    }

    /// Whether a step without data is due: a body that has all its bytes ends at once.
    pub fn ends_now(&self) -> bool {
        self.state == State::Length(0)
    }

    fn end<'a>(&mut self, taken: usize) -> (usize, Option<Step<'a>>) {
        self.state = State::Head;
        self.held.clear();
        (taken, Some(Step::End))
    }

    fn head<'a>(&'a mut self, data: &'a [u8]) -> (usize, Option<Step<'a>>) {
        if self.held.is_empty() {
            // Line ends before a start line are to be ignored (RFC 9112 section 2.2), and servers ignore spaces there too.
            let blank = data.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if blank > 0 {
                return (blank, Some(Step::Framing(0)));
            }
            if let Some(end) = head_end(data, 0) {
                self.state = State::Framing;
                let found = std::mem::take(&mut self.found);
                return (end, data.get(..end).map(|bytes| Step::Head { bytes, found }));
            }
        }
        let before = self.held.len();
        self.held.extend_from_slice(data);
        if let Some(end) = head_end(&self.held, before.saturating_sub(3)) {
            self.held.truncate(end);
            self.state = State::Framing;
            let found = std::mem::take(&mut self.found);
            return (
                end - before,
                Some(Step::Head {
                    bytes: &self.held,
                    found,
                }),
            );
        }
        if self.held.len() > limits::HTTP_HEAD_BYTES {
            self.search();
            return (data.len(), Some(Step::Broken("head is over its cap", 0)));
        }
        (data.len(), None)
    }

    /// The caller has read the head that a step gave.
    pub fn head_read(&mut self) {
        self.held.clear();
    }

    fn chunk_line<'a>(&mut self, data: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
            self.held.extend_from_slice(data);
            if self.held.len() > limits::HTTP_CHUNK_LINE_BYTES {
                self.search();
                let broken = Step::Broken("chunk line is over its cap", data.len() as u64);
                return (data.len(), Some(broken));
            }
            return (data.len(), Some(Step::Framing(data.len() as u64)));
        };
        let taken = end + 1;
        self.held.extend_from_slice(data.get(..end).unwrap_or_default());
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        let next = match self.state {
            State::ChunkEnd if line.is_empty() => Some(State::ChunkSize),
            State::ChunkSize => chunk_size(line).map(|size| match size {
                0 => State::Trailers,
                size => State::ChunkData(size),
            }),
            State::Trailers if !line.is_empty() => Some(State::Trailers),
            State::Trailers => {
                return self.end(taken);
            }
            _ => None,
        };
        self.held.clear();
        match next {
            Some(state) => {
                self.state = state;
                (taken, Some(Step::Framing(taken as u64)))
            }
            None => {
                self.search();
                (taken, Some(Step::Broken("malformed chunk", taken as u64)))
            }
        }
    }

    fn search_line<'a>(&mut self, data: &'a [u8]) -> (usize, Option<Step<'a>>) {
        let end = data.iter().position(|byte| *byte == b'\n');
        let part = data.get(..end.unwrap_or(data.len())).unwrap_or_default();
        if !self.line_spoiled {
            self.held.extend_from_slice(part);
        }
        if self.held.len() > START_LINE_MAX {
            self.line_spoiled = true;
            self.held.clear();
        }
        let taken = end.map_or(data.len(), |end| end + 1);
        self.searched += taken as u64;
        self.line += taken as u64;
        if end.is_none() {
            let passed = self.line_spoiled.then(|| self.pass_by(0));
            return (taken, passed);
        }
        let blank = self
            .held
            .iter()
            .take_while(|byte| byte.is_ascii_whitespace())
            .count();
        self.held.drain(..blank);
        let line = self.held.strip_suffix(b"\r").unwrap_or(&self.held);
        let starts = if self.response {
            is_status_line(line)
        } else {
            is_request_line(line)
        };
        if !self.line_spoiled && starts {
            // The line is the beginning of the head that goes on.
            // Where it is the first thing that was ever seen, the connection was idle when it was joined.
            self.state = State::Head;
            self.found = !self.begins_here;
            self.begins_here = false;
            self.line = 0;
            self.held.push(b'\n');
            return (taken, Some(Step::Skipped { seen: 0, missed: 0 }));
        }
        self.begins_here = false;
        self.line_spoiled = false;
        self.held.clear();
        (taken, Some(self.pass_by(0)))
    }

    /// What a search has seen of a line, and so many bytes that are missing behind it, belong to nothing.
    fn pass_by(&mut self, missed: u64) -> Step<'static> {
        let seen = std::mem::take(&mut self.line);
        Step::Skipped { seen, missed }
    }

    /// `len` bytes are missing here; gives what that means, and how many of them are left after it.
    pub fn gap(&mut self, len: u64) -> (Step<'static>, u64) {
        self.begins_here = false;
        match self.state {
            State::Length(left) if len <= left => {
                self.state = State::Length(left - len);
                (Step::Missed(len), 0)
            }
            State::Length(left) if left > 0 => {
                self.state = State::Length(0);
                (Step::Missed(left), len - left)
            }
            State::ChunkData(left) if len < left => {
                self.state = State::ChunkData(left - len);
                (Step::Missed(len), 0)
            }
            State::UntilClose => (Step::Missed(len), 0),
            State::Done => (Step::Skipped { seen: 0, missed: len }, 0),
            State::Search => {
                self.held.clear();
                self.line_spoiled = false;
                (self.pass_by(len), 0)
            }
            State::Head if self.held.is_empty() => {
                self.search();
                (Step::Skipped { seen: 0, missed: len }, 0)
            }
            _ => {
                self.search();
                (Step::Lost(len), 0)
            }
        }
    }
}
