//! The streams of one HTTP/2 connection and the exchange of each.
//!
//! In: heads, data and ends of streams. Out: [`HttpEvent`]s; every request gets exactly one `RequestEnd` and one
//! `ResponseEnd`, the latter first where the server answers before it was asked all. Never: more than [`limits::H2_STREAMS`] open; a message complete of which bytes may be missing.

use super::fields;
use super::half::Half;
use super::hpack::Block;
use crate::http::coding::Codings;
use crate::http::message::Message;
use crate::http::{BodyState, HttpEvent, Sink};
use crate::limits;
use std::collections::BTreeMap;

/// Answers that ended since a stream last showed up in spite of a loss, after which its own end counts as lost.
const DOUBT_MAX: u64 = 16;

#[derive(Debug)]
struct Stream {
    exchange: u64,
    head_request: bool,
    /// The request was gRPC.
    grpc: bool,
    /// None when it ended.
    request: Option<Half>,
    /// None until the head of the final response.
    response: Option<Half>,
    /// Bytes of a response that has no head, or not yet, and whether a head may have been missed.
    early: (u64, bool),
    /// Frames were lost since the stream was last seen, when so many answers had ended.
    doubt: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<u32, Stream>,
    /// Requests that were answered before their end, with their exchanges.
    unasked: BTreeMap<u32, (u64, Half)>,
    next_exchange: u64,
    /// The streams whose beginning, and so whose end, cannot have been missed.
    known_from: u32,
    highest: u32,
    answered: u64,
    /// Bytes of the frames of a request's head that is not whole yet, and its stream.
    asking: (u32, u64),
    /// Bytes of messages that are not whole yet.
    held: usize,
}

impl Streams {
    pub fn new(next_exchange: u64) -> Self {
        Self {
            next_exchange,
            ..Self::default()
        }
    }

    pub fn pending(&self) -> bool {
        !self.open.is_empty() || !self.unasked.is_empty()
    }

    /// Bytes held back.
    pub fn held(&self) -> usize {
        self.held
    }

    pub fn next_exchange(&self) -> u64 {
        self.next_exchange
    }

    /// A request whose exchange has begun in another way: the first of a connection that was upgraded.
    pub fn adopt(&mut self, stream: u32, exchange: u64) {
        self.highest = self.highest.max(stream);
        let stream_state = Stream {
            exchange,
            head_request: false,
            grpc: false,
            request: None,
            response: None,
            early: (0, false),
            doubt: None,
        };
        self.open.insert(stream, stream_state);
    }

    /// Fields of the client: a request begins, or they are its trailers. `doubtful`: not all of its head is readable.
    pub fn asked(&mut self, stream: u32, block: &Block, doubtful: bool, sink: Sink<'_>) {
        // Trailers, or what comes late on a stream that is over, or no stream that a client may open.
        let known = self.open.contains_key(&stream) || self.unasked.contains_key(&stream);
        if known || stream <= self.highest || stream.is_multiple_of(2) {
            return;
        }
        if self.known_from == 0 {
            self.known_from = stream;
        }
        self.highest = stream;
        if self.open.len() >= limits::H2_STREAMS
            && let Some(oldest) = self.open.keys().next().copied()
        {
            self.finish(oldest, BodyState::Gap, sink);
        }
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        let head = fields::request(block);
        let mut half = Half::new(exchange, false, &head.headers, doubtful, false);
        let (asking, bytes) = std::mem::take(&mut self.asking);
        half.message.wire_bytes = if asking == stream { bytes } else { 0 };
        let opened = Stream {
            exchange,
            head_request: head.method == "HEAD",
            grpc: half.is_grpc(),
            request: Some(half),
            response: None,
            early: (0, false),
            doubt: None,
        };
        self.open.insert(stream, opened);
        sink(HttpEvent::RequestHead { exchange, head });
        if block.unknown > 0 || block.over_cap || doubtful {
            sink(HttpEvent::HeadPartial { exchange });
        }
    }

    /// Fields of the server: interim, the head of the response, or trailers.
    pub fn answer(&mut self, stream: u32, block: &Block, doubtful: bool, sink: Sink<'_>) {
        let Some(open) = self.open.get_mut(&stream) else {
            return;
        };
        open.doubt = None;
        let exchange = open.exchange;
        let partial = block.unknown > 0 || doubtful;
        if partial || block.over_cap {
            sink(HttpEvent::HeadPartial { exchange });
        }
        if open.response.is_some() {
            let fields = fields::headers(block);
            return sink(HttpEvent::Trailers { exchange, fields });
        }
        let Some(head) = fields::response(block, partial) else {
            return;
        };
        if (100..=199).contains(&head.status) {
            return;
        }
        let no_body = open.head_request || matches!(head.status, 204 | 304);
        // Without a status it may as well be the trailers of an answer that was lost.
        let doubtful = doubtful || (open.early.1 && head.status == 0);
        let mut half = Half::new(exchange, true, &head.headers, doubtful, no_body);
        if open.grpc && partial && head.headers.first("content-type").is_none() {
            half.assume_grpc();
        }
        half.message.wire_bytes = open.early.0;
        open.response = Some(half);
        let trailers_only = head.headers.first("grpc-status").is_some();
        let fields = trailers_only.then(|| head.headers.clone());
        sink(HttpEvent::ResponseHead { exchange, head });
        if let Some(fields) = fields {
            sink(HttpEvent::Trailers { exchange, fields });
        }
    }

    /// Bytes of DATA frames.
    pub fn data(&mut self, response: bool, stream: u32, data: &[u8], sink: Sink<'_>) {
        let len = data.len() as u64;
        let Some(half) = self.half(response, stream) else {
            return self.headless(response, stream, len, sink);
        };
        let before = half.held();
        let over = half.data(data, sink);
        let after = half.held();
        self.held = self.held.saturating_sub(before).saturating_add(after);
        if self.held > limits::H2_MESSAGES_BYTES {
            self.release(response, stream, sink);
        }
        if over {
            let longer = BodyState::Malformed("body is longer than content-length");
            self.end_with(response, stream, longer, sink);
        }
    }

    /// Bytes of a stream that are no data.
    pub fn framing(&mut self, response: bool, stream: u32, len: u64) {
        if let Some(half) = self.half(response, stream) {
            half.message.wire_bytes += len;
        } else if let Some(open) = self.open.get_mut(&stream).filter(|_| response) {
            open.early.0 += len;
        } else if !response {
            let before = match self.asking {
                (asking, before) if asking == stream => before,
                _ => 0,
            };
            self.asking = (stream, before.saturating_add(len));
        }
    }

    pub fn missed(&mut self, response: bool, stream: u32, len: u64, sink: Sink<'_>) {
        match self.half(response, stream) {
            Some(half) => {
                let before = half.held();
                half.missed(len, sink);
                self.held = self.held.saturating_sub(before);
            }
            None => sink(HttpEvent::Skipped {
                response,
                seen: 0,
                missed: len,
            }),
        }
    }

    /// The sender of one direction is done.
    pub fn end(&mut self, response: bool, stream: u32, sink: Sink<'_>) {
        self.end_with(response, stream, BodyState::Complete, sink);
    }

    fn end_with(&mut self, response: bool, stream: u32, state: BodyState, sink: Sink<'_>) {
        if response {
            return self.end_response(stream, state, sink);
        }
        if let Some(open) = self.open.get_mut(&stream)
            && let Some(half) = open.request.take()
        {
            self.held = self.held.saturating_sub(half.held());
            let exchange = open.exchange;
            let end = half.end(state, sink);
            sink(HttpEvent::RequestEnd { exchange, end });
        } else {
            self.end_unasked(stream, state, sink);
        }
    }

    /// The response is over. Where the request is not, its end is still to come, or is missing.
    fn end_response(&mut self, stream: u32, state: BodyState, sink: Sink<'_>) {
        let open = self.open.get_mut(&stream);
        if let Some((exchange, half)) = open.and_then(|open| Some((open.exchange, open.request.take()?))) {
            if self.unasked.len() >= limits::H2_STREAMS
                && let Some(oldest) = self.unasked.keys().next().copied()
            {
                self.end_unasked(oldest, BodyState::Gap, sink);
            }
            self.unasked.insert(stream, (exchange, half));
        }
        self.finish(stream, state, sink);
    }

    fn end_unasked(&mut self, stream: u32, state: BodyState, sink: Sink<'_>) {
        if let Some((exchange, half)) = self.unasked.remove(&stream) {
            self.held = self.held.saturating_sub(half.held());
            let end = half.end(state, sink);
            sink(HttpEvent::RequestEnd { exchange, end });
        }
    }

    /// Nothing more was sent so far on any stream but `except`: requests that were answered before their end are not waited
    /// for.
    pub fn settle(&mut self, except: Option<u32>, sink: Sink<'_>) {
        let others = self.unasked.keys().copied();
        let others: Vec<u32> = others.filter(|stream| Some(*stream) != except).collect();
        for stream in others {
            self.end_unasked(stream, BodyState::Aborted, sink);
        }
    }

    /// The exchange is over; what of it has no end yet gets one.
    pub fn finish(&mut self, stream: u32, state: BodyState, sink: Sink<'_>) {
        if state != BodyState::Complete {
            self.end_unasked(stream, BodyState::Aborted, sink);
        }
        let Some(open) = self.open.remove(&stream) else {
            return;
        };
        let exchange = open.exchange;
        if let Some(half) = open.request {
            // The server did not wait for the rest of it.
            self.held = self.held.saturating_sub(half.held());
            let end = half.end(BodyState::Aborted, sink);
            sink(HttpEvent::RequestEnd { exchange, end });
        }
        // An end without a head, and the end of a stream that was lost from sight, are no complete answers.
        let state = match state {
            BodyState::Complete if open.response.is_none() && open.early.1 => BodyState::Gap,
            BodyState::Complete if open.response.is_none() => BodyState::Malformed("response without a head"),
            BodyState::Aborted if open.doubt.is_some() => BodyState::Gap,
            state => state,
        };
        let end = match open.response {
            Some(half) => {
                self.held = self.held.saturating_sub(half.held());
                half.end(state, sink)
            }
            None => Message::new(None, Codings::default(), open.early.0, open.early.1).end(state),
        };
        sink(HttpEvent::ResponseEnd { exchange, end });
        self.answered += 1;
    }

    /// Ends everything that is open, for streams above `last`.
    pub fn abandon(&mut self, last: u32, state: BodyState, sink: Sink<'_>) {
        let above: Vec<u32> = self
            .open
            .keys()
            .copied()
            .filter(|stream| *stream > last)
            .collect();
        for stream in above {
            self.finish(stream, state, sink);
        }
        let unasked = self.unasked.keys().copied();
        let unasked: Vec<u32> = unasked.filter(|stream| *stream > last).collect();
        for stream in unasked {
            self.end_unasked(stream, state, sink);
        }
    }

    /// Frames of any stream may have been lost in one direction.
    pub fn lost(&mut self, response: bool, sink: Sink<'_>) {
        // Requests whose heads were among them are not told from those that were answered before.
        if !response {
            (self.known_from, self.highest) = (0, 0);
            for (_, half) in self.unasked.values_mut() {
                self.held = self.held.saturating_sub(half.held());
                half.doubt(sink);
            }
        }
        for open in self.open.values_mut() {
            let half = if response {
                &mut open.response
            } else {
                &mut open.request
            };
            if let Some(half) = half {
                self.held = self.held.saturating_sub(half.held());
                half.doubt(sink);
            }
            if response {
                open.early.1 = true;
                open.doubt = Some(self.answered);
            }
        }
    }

    /// Streams that did not show up again after a loss, while many others did.
    pub fn expire(&mut self, sink: Sink<'_>) {
        let answered = self.answered;
        let over = |open: &Stream| open.doubt.is_some_and(|since| since + DOUBT_MAX <= answered);
        let over: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, open)| over(open))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in over {
            self.finish(stream, BodyState::Gap, sink);
        }
    }

    fn half(&mut self, response: bool, stream: u32) -> Option<&mut Half> {
        if response {
            let open = self.open.get_mut(&stream)?;
            open.doubt = None;
            return open.response.as_mut();
        }
        match self.open.get_mut(&stream) {
            Some(open) => open.request.as_mut(),
            None => self.unasked.get_mut(&stream).map(|(_, half)| half),
        }
    }

    /// Gives up the message that is under way in one direction of a stream.
    fn release(&mut self, response: bool, stream: u32, sink: Sink<'_>) {
        if let Some(half) = self.half(response, stream) {
            let before = half.held();
            half.release(sink);
            self.held = self.held.saturating_sub(before);
        }
    }

    /// Data of no message that has a head. On a stream that is over it is what was under way when the other side ended it.
    fn headless(&mut self, response: bool, stream: u32, len: u64, sink: Sink<'_>) {
        if let Some(open) = self.open.get_mut(&stream).filter(|_| response) {
            open.early.0 += len;
            return;
        }
        let over = self.known_from > 0 && (self.known_from..=self.highest).contains(&stream);
        if !over {
            sink(HttpEvent::Skipped {
                response,
                seen: len,
                missed: 0,
            });
        }
    }
}
