//! HTTP/2 (RFC 9113) as a passive reader sees it.
//!
//! In: pieces of both directions in the order in which they happened. Out: the same [`HttpEvent`]s as HTTP/1 gives, one
//! exchange for each stream. Never: a field by guess, a body complete of which bytes may be missing.
//!
//! A connection that was joined, or lost bytes between frames, is found again where the length of one frame leads to the head
//! of another. What the senders' field tables held before is unknown from then on: such heads are partial, and say so.

mod direction;
mod fields;
mod frame;
mod half;
pub mod hpack;
mod search;
mod streams;

pub use direction::PREFACE;
pub use search::{begins_with_settings, first_frames};

use super::{BodyState, Chunk, HttpEvent, Sink};
use direction::{Direction, Step, Unreadable};
use hpack::{Block, Hpack};
use streams::Streams;

/// The HTTP/2 of one connection.
#[derive(Debug)]
pub struct H2 {
    directions: [Direction; 2],
    rest: Rest,
}

/// Everything but the framing.
#[derive(Debug)]
struct Rest {
    /// Of the client's and of the server's fields.
    hpack: [Hpack; 2],
    streams: Streams,
    /// The client did not begin as it must.
    refused: bool,
}

impl H2 {
    /// `joined`: the connection is older than our sight of it.
    pub fn new(joined: bool) -> Self {
        Self {
            directions: [Direction::new(true, joined), Direction::new(false, joined)],
            rest: Rest {
                hpack: [Hpack::new(joined), Hpack::new(joined)],
                streams: Streams::default(),
                refused: false,
            },
        }
    }

    /// A connection that HTTP/1 was upgraded from: its request `exchange` is answered on stream 1 (RFC 7540 section 3.2);
    /// `next` is the first number that no exchange has.
    pub fn upgraded(exchange: u64, next: u64) -> Self {
        let mut h2 = Self::new(false);
        h2.rest.streams = Streams::new(next);
        h2.rest.streams.adopt(1, exchange);
        h2
    }

    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        self.rest.streams.pending()
    }

    /// Bytes that are held back until more come, and fields that later ones may refer to.
    pub fn buffered_bytes(&self) -> usize {
        let held: usize = self.directions.iter().map(Direction::held).sum();
        let tables: usize = self.rest.hpack.iter().map(Hpack::size).sum();
        held + tables + self.rest.streams.held()
    }

    /// Whether this turned out to be something else.
    pub fn gave_up(&self) -> bool {
        self.rest.refused
    }

    /// The next piece of one direction.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        let Self { directions, rest } = self;
        let [client, server] = directions;
        let direction = if response { server } else { client };
        match chunk {
            Chunk::Data(data) => direction.push(data, &mut |step| {
                rest.went_on(response, &step, sink);
                rest.step(response, step, sink);
            }),
            Chunk::Gap(len) => direction.gap(len, &mut |step| rest.step(response, step, sink)),
            Chunk::Eof => {
                direction.stop();
                if response {
                    rest.streams.abandon(0, BodyState::Aborted, sink);
                }
            }
        }
    }

    /// The client had sent no more than came.
    pub fn settle(&mut self, sink: Sink<'_>) {
        self.rest.streams.settle(None, sink);
    }

    /// The connection is gone: everything open ends.
    pub fn close(&mut self, sink: Sink<'_>) {
        self.rest.streams.abandon(0, BodyState::Aborted, sink);
    }

    /// We look away while the connection goes on: everything open ends as a part.
    pub fn lose(&mut self, sink: Sink<'_>) {
        self.rest.streams.abandon(0, BodyState::Gap, sink);
        self.directions.iter_mut().for_each(Direction::stop);
    }
}

impl Rest {
    /// The client goes on with something else: it had sent no more of requests that were answered before their end.
    fn went_on(&mut self, response: bool, step: &Step<'_>, sink: Sink<'_>) {
        let stream = match step {
            Step::Lost | Step::Skipped { .. } | Step::Broken(_) => return,
            Step::Fields { stream, .. }
            | Step::Unreadable { stream, .. }
            | Step::Data { stream, .. }
            | Step::Framing { stream, .. }
            | Step::Missed { stream, .. }
            | Step::End { stream }
            | Step::Reset { stream } => Some(*stream),
            Step::Promise { .. } | Step::Goaway { .. } => None,
        };
        if !response {
            self.streams.settle(stream, sink);
        }
    }

    fn step(&mut self, response: bool, step: Step<'_>, sink: Sink<'_>) {
        // Nobody reads on behind the piece in which it was refused, so nothing of that piece may begin either.
        if self.refused {
            return;
        }
        let streams = &mut self.streams;
        match step {
            Step::Fields { stream, block, end } => self.fields(response, stream, block, end, sink),
            Step::Unreadable { stream, end, why } => self.unreadable(response, stream, end, why, sink),
            Step::Promise { block } => {
                // A block that is none leaves a table that is forgotten, which is all there is to say of it.
                let _ = self.hpack(response).decode(block);
            }
            Step::Data { stream, bytes } => streams.data(response, stream, bytes, sink),
            Step::Framing { stream, len } => streams.framing(response, stream, len),
            Step::Missed { stream, len } => streams.missed(response, stream, len, sink),
            Step::End { stream } => self.end(response, stream, sink),
            Step::Reset { stream } => streams.finish(stream, BodyState::Aborted, sink),
            Step::Goaway { last } if response => streams.abandon(last, BodyState::Aborted, sink),
            Step::Goaway { .. } => {}
            Step::Lost => {
                streams.lost(response, sink);
                self.hpack(response).forget();
            }
            Step::Broken(_) => self.refused |= !response && streams.next_exchange() == 0,
            Step::Skipped { seen: 0, missed: 0 } => {}
            Step::Skipped { seen, missed } => sink(HttpEvent::Skipped {
                response,
                seen,
                missed,
            }),
        }
    }

    fn hpack(&mut self, response: bool) -> &mut Hpack {
        let [client, server] = &mut self.hpack;
        if response { server } else { client }
    }

    fn fields(&mut self, response: bool, stream: u32, block: &[u8], end: bool, sink: Sink<'_>) {
        match self.hpack(response).decode(block) {
            Ok(block) => self.head(response, stream, &block, false, end, sink),
            Err(_) => self.unreadable(response, stream, end, Unreadable::Malformed, sink),
        }
    }

    fn head(
        &mut self,
        response: bool,
        stream: u32,
        block: &Block,
        doubtful: bool,
        end: bool,
        sink: Sink<'_>,
    ) {
        match response {
            true => self.streams.answer(stream, block, doubtful, sink),
            false => self.streams.asked(stream, block, doubtful, sink),
        }
        if end {
            self.end(response, stream, sink);
        }
    }

    /// A field block that nobody can read; the message behind it may still be readable.
    fn unreadable(&mut self, response: bool, stream: u32, end: bool, why: Unreadable, sink: Sink<'_>) {
        self.hpack(response).forget();
        if stream == 0 {
            return;
        }
        match why {
            Unreadable::Gap => self.head(response, stream, &Block::default(), true, end, sink),
            Unreadable::OverCap | Unreadable::Malformed => {
                self.head(response, stream, &Block::default(), true, false, sink);
                let state = BodyState::Malformed(match why {
                    Unreadable::OverCap => "head is over its cap",
                    _ => "malformed field block",
                });
                self.streams.finish(stream, state, sink);
            }
        }
    }

    fn end(&mut self, response: bool, stream: u32, sink: Sink<'_>) {
        self.streams.end(response, stream, sink);
        if response {
            self.streams.expire(sink);
        }
    }
}

#[cfg(test)]
mod tests;
