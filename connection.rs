//! One connection: both directions and what ties them.
//!
//! In: [`Chunk`]s of both directions in the order they were seen. Out: [`HttpEvent`]s. Never: an exchange
//! without exactly one end, or a byte that no end, [`HttpEvent::Skipped`] or hand-over accounts for.

use super::framing::Framing;
use super::head::HeadBuffer;
use super::message::{Message, Sink, bodiless};
use super::pairing::{Exchange, Pairing};
use super::resync::Scanner;
use super::{BodyEnd, BodyState, Chunk, HttpEvent};

/// Reads one connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) request: Direction,
    pub(super) response: Direction,
    pub(super) pairing: Pairing,
    pub(super) next_exchange: u64,
    /// A request was seen, so this is HTTP.
    pub(super) detected: bool,
    /// Client bytes that were searched for the first request.
    pub(super) searched: u64,
    pub(super) expect: Expect,
    /// The end of a response whose request is still being sent.
    pub(super) late: Option<(u64, BodyEnd)>,
    /// Response bytes that came before their request.
    pub(super) early: Vec<u8>,
    /// Bytes of 1xx heads before the response to come.
    pub(super) interim: u64,
    /// Closed, handed over to another protocol, or not HTTP.
    pub(super) over: bool,
}

/// Where the reading of a direction stands.
#[derive(Debug)]
pub(super) enum State {
    /// At a message boundary, or in a head.
    Head,
    Message(Box<Message>),
    /// In the body of a response that no known request waits for.
    Orphan(Framing),
    Resync(Scanner),
    /// Ended.
    Ended,
}

#[derive(Debug)]
pub(super) struct Direction {
    pub(super) state: State,
    pub(super) head: HeadBuffer,
    pub(super) skipped: Skipped,
}

/// Bytes that belong to no exchange, until they are reported.
#[derive(Debug, Default)]
pub(super) struct Skipped {
    pub(super) seen: u64,
    pub(super) missed: u64,
}

/// `Expect: 100-continue` on the request being read (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expect {
    Nothing,
    /// Asked for, and no byte of the body seen yet.
    Asked,
    /// The final response came first: the body may never be sent.
    Refused,
}

impl Direction {
    fn new(state: State) -> Self {
        Self {
            state,
            head: HeadBuffer::default(),
            skipped: Skipped::default(),
        }
    }

    pub(super) fn report_skipped(&mut self, response: bool, sink: Sink<'_>) {
        let Skipped { seen, missed } = std::mem::take(&mut self.skipped);
        if seen > 0 || missed > 0 {
            sink(HttpEvent::Skipped { response, seen, missed });
        }
    }

    /// Gives up the head or the candidate that was being collected.
    pub(super) fn drop_partial(&mut self) {
        self.skipped.seen += self.head.len() as u64;
        self.head.clear();
        if let State::Resync(scanner) = &mut self.state {
            self.skipped.seen += scanner.restart();
        }
    }

    fn buffered_bytes(&self) -> usize {
        self.head.buffered_bytes()
            + match &self.state {
                State::Message(message) => message.buffered_bytes(),
                State::Resync(scanner) => scanner.buffered_bytes(),
                State::Head | State::Orphan(_) | State::Ended => 0,
            }
    }
}

impl Connection {
    /// `joined`: the connection may have carried bytes before the first chunk.
    pub fn new(joined: bool) -> Self {
        let state = |response| if joined { State::Resync(Scanner::new(response)) } else { State::Head };
        Self {
            request: Direction::new(state(false)),
            response: Direction::new(state(true)),
            pairing: Pairing::new(joined),
            next_exchange: 0,
            detected: false,
            searched: 0,
            expect: Expect::Nothing,
            late: None,
            early: Vec::new(),
            interim: 0,
            over: false,
        }
    }

    /// Reads the next piece of one direction; `response` is server to client.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: &mut dyn FnMut(HttpEvent<'_>)) {
        if self.over {
            return;
        }
        match (response, chunk) {
            (_, Chunk::Gap(0)) => {}
            (false, Chunk::Data(data)) => self.request_data(data, sink),
            (false, Chunk::Gap(missing)) => self.request_gap(missing, sink),
            (false, Chunk::Eof) => self.request_ends(sink),
            (true, Chunk::Data(data)) => self.response_data(data, sink),
            (true, Chunk::Gap(missing)) => self.response_gap(missing, sink),
            (true, Chunk::Eof) => self.response_ends(sink),
        }
    }

    /// The connection is gone: ends everything that is open. Later chunks are ignored.
    pub fn close(&mut self, sink: &mut dyn FnMut(HttpEvent<'_>)) {
        if self.over {
            return;
        }
        self.request_ends(sink);
        self.response_ends(sink);
        self.over = true;
    }

    /// Whether an exchange has begun and not ended.
    pub fn pending(&self) -> bool {
        let reading = matches!(self.request.state, State::Message(_));
        !self.over && (reading || self.late.is_some() || !self.pairing.waiting.is_empty())
    }

    /// Bytes held, [`crate::limits::HTTP_BUFFERED_BYTES`] at most.
    pub fn buffered_bytes(&self) -> usize {
        self.request.buffered_bytes() + self.response.buffered_bytes() + self.early.capacity()
    }

    /// Ends an exchange, or keeps the end of its response until its request has ended too.
    pub(super) fn conclude(&mut self, exchange: Exchange, end: BodyEnd, sink: Sink<'_>) {
        if exchange.asked {
            sink(HttpEvent::ResponseEnd {
                exchange: exchange.id,
                end,
            });
        } else {
            self.late = Some((exchange.id, end));
        }
    }

    /// Ends every exchange that waits.
    pub(super) fn conclude_waiting(&mut self, state: BodyState, sink: Sink<'_>) {
        while let Some(exchange) = self.pairing.waiting.pop_front() {
            self.conclude(exchange, bodiless(state, 0, 0), sink);
        }
    }

    pub(super) fn not_http(&mut self, sink: Sink<'_>) {
        sink(HttpEvent::NotHttp);
        self.stop();
    }

    /// Nothing more is read.
    pub(super) fn stop(&mut self) {
        *self = Self {
            next_exchange: self.next_exchange,
            over: true,
            ..Self::new(false)
        };
    }
}

#[cfg(test)]
mod tests;
