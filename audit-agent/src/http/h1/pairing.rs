//! Which response answers which request, on a connection that has one after the other.
//!
//! In: heads, bodies and ends of both directions. Out: [`HttpEvent`]s; every request gets exactly one `RequestEnd` and one
//! `ResponseEnd`. Never: a response paired with another's request; after a loss whatever is in doubt ends as a gap.

use crate::http::coding::Codings;
use crate::http::message::Message;
use crate::http::{BodyEnd, BodyState, HttpEvent, RequestHead, ResponseHead, Sink};
use crate::limits;
use std::collections::VecDeque;

/// A request that waits for its response.
#[derive(Debug)]
struct Pending {
    exchange: u64,
    method: String,
    /// Its `RequestEnd` was sent.
    request_ended: bool,
}

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub struct Pairs {
    request: Option<Message>,
    response: Option<Message>,
    pending: VecDeque<Pending>,
    next_exchange: u64,
    /// More than one request was pending at once.
    pipelined: bool,
}

impl Pairs {
    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether no request has come so far.
    pub fn none_yet(&self) -> bool {
        self.next_exchange == 0
    }

    /// Whether there is no room for another request.
    pub fn full(&self) -> bool {
        self.pending.len() >= limits::HTTP_PIPELINE
    }

    /// The method of the request that is next to be answered.
    pub fn method(&self) -> Option<&str> {
        self.pending.front().map(|pending| pending.method.as_str())
    }

    /// The message of one direction that is under way.
    pub fn message(&mut self, response: bool) -> &mut Option<Message> {
        if response {
            &mut self.response
        } else {
            &mut self.request
        }
    }

    /// A request begins, with a head of `bytes`; `found` by search.
    pub fn ask(&mut self, head: RequestHead, bytes: u64, found: bool, sink: Sink<'_>) {
        self.pipelined |= self.pending();
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        let codings = Codings::new(head.headers.all("content-encoding"));
        self.request = Some(Message::new(Some(exchange), codings, bytes, found));
        self.pending.push_back(Pending {
            exchange,
            method: head.method.clone(),
            request_ended: false,
        });
        sink(HttpEvent::RequestHead { exchange, head });
    }

    /// A final response begins; gives the exchange that it belongs to, if that was seen.
    pub fn answer(&mut self, head: ResponseHead, bytes: u64, found: bool, sink: Sink<'_>) -> Option<u64> {
        let exchange = self.pending.front().map(|pending| pending.exchange);
        let codings = Codings::new(head.headers.all("content-encoding"));
        self.response = Some(Message::new(exchange, codings, bytes, found));
        sink(match exchange {
            Some(exchange) => HttpEvent::ResponseHead { exchange, head },
            None => HttpEvent::Skipped {
                response: true,
                seen: bytes,
                missed: 0,
            },
        });
        exchange
    }

    pub fn body(&mut self, response: bool, data: &[u8], sink: Sink<'_>) {
        let Some(message) = self.message(response) else {
            return;
        };
        message.wire_bytes += data.len() as u64;
        if message.exchange.is_none() {
            sink(HttpEvent::Skipped {
                response,
                seen: data.len() as u64,
                missed: 0,
            });
        }
        message.body(data, |exchange, data| {
            sink(match response {
                true => HttpEvent::ResponseBody { exchange, data },
                false => HttpEvent::RequestBody { exchange, data },
            });
        });
    }

    /// `len` bytes are missing inside the message under way, or between messages.
    pub fn missed(&mut self, response: bool, len: u64, sink: Sink<'_>) {
        match self.message(response) {
            Some(message) => message.missed(len),
            None => sink(HttpEvent::Skipped {
                response,
                seen: 0,
                missed: len,
            }),
        }
    }

    /// A message ended, in the way that `state` says.
    pub fn end(&mut self, response: bool, state: BodyState, sink: Sink<'_>) {
        let Some(message) = self.message(response).take() else {
            return;
        };
        let Some(exchange) = message.exchange else { return };
        if response {
            self.end_request_of(exchange, sink);
            self.pending.retain(|pending| pending.exchange != exchange);
            let end = message.end(state);
            return sink(HttpEvent::ResponseEnd { exchange, end });
        }
        let mut pending = self.pending.iter_mut();
        let pending = pending.find(|pending| pending.exchange == exchange);
        if let Some(pending) = pending.filter(|pending| !pending.request_ended) {
            pending.request_ended = true;
            let end = message.end(state);
            sink(HttpEvent::RequestEnd { exchange, end });
        }
    }

    /// The response is over while its request is not: the server did not wait for the rest of it.
    fn end_request_of(&mut self, exchange: u64, sink: Sink<'_>) {
        let mut pending = self.pending.iter_mut();
        let pending = pending.find(|pending| pending.exchange == exchange);
        let Some(pending) = pending.filter(|pending| !pending.request_ended) else {
            return;
        };
        pending.request_ended = true;
        let current = |message: &mut Message| message.exchange == Some(exchange);
        let end = match self.request.take_if(current) {
            Some(message) => message.end(BodyState::Aborted),
            None => nothing(BodyState::Aborted),
        };
        sink(HttpEvent::RequestEnd { exchange, end });
    }

    /// Ends the exchange that is next to be answered.
    pub fn finish_front(&mut self, state: BodyState, sink: Sink<'_>) {
        let Some(exchange) = self.pending.front().map(|pending| pending.exchange) else {
            return;
        };
        let end = match self.response.take() {
            Some(message) if message.exchange == Some(exchange) => message.end(state),
            _ => nothing(state),
        };
        self.end_request_of(exchange, sink);
        self.pending.pop_front();
        sink(HttpEvent::ResponseEnd { exchange, end });
    }

    /// The exchange that is next to be answered goes on in another protocol.
    pub fn hand_over(&mut self) -> Option<u64> {
        self.pending.pop_front().map(|pending| pending.exchange)
    }

    /// Ends everything that is open; a response to a request that was not seen goes on.
    pub fn abandon(&mut self, state: BodyState, sink: Sink<'_>) {
        self.response = self.response.take().filter(|message| message.exchange.is_some());
        while self.pending() {
            self.finish_front(state, sink);
        }
        self.request = None;
    }

    /// A response was found by search while several requests wait: it answers the newest, unless the client
    /// pipelines, and then nothing can be told any more.
    pub fn after_loss(&mut self, sink: Sink<'_>) {
        if self.pending.len() < 2 {
            return;
        }
        while self.pending.len() > 1 {
            self.finish_front(BodyState::Gap, sink);
        }
        if self.pipelined {
            self.finish_front(BodyState::Gap, sink);
        }
    }
}

/// The end of a message of which nothing was seen.
fn nothing(state: BodyState) -> BodyEnd {
    Message::new(None, Codings::default(), 0, false).end(state)
}
