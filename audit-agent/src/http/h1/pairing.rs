//! Which response answers which request, on a connection that has one after the other.
//!
//! In: heads, bodies and ends of both directions. Out: [`HttpEvent`]s; every request gets exactly one `RequestEnd` and one
//! `ResponseEnd`, the latter first where the server answers before it was asked all. Never: a response paired with another's
//! request, unless a client pipelines for the first time where bytes are lost; whatever follows a loss is not called complete.

use crate::http::coding::Codings;
use crate::http::message::Message;
use crate::http::{BodyState, HttpEvent, RequestHead, ResponseHead, Sink};
use crate::limits;
use std::collections::VecDeque;

/// A request that waits for its response.
#[derive(Debug)]
struct Pending {
    exchange: u64,
    method: String,
}

/// Requests that wait for their responses, in the order in which they were sent.
#[derive(Debug)]
pub struct Waiting(VecDeque<Pending>);

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub struct Pairs {
    request: Option<Message>,
    response: Option<Message>,
    pending: VecDeque<Pending>,
    next_exchange: u64,
    /// Bytes of interim responses, which count as the final one's.
    interim: u64,
    /// A request was answered, without a loss, when another already waited behind it.
    pipelined: bool,
}

impl Pairs {
    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        !self.pending.is_empty() || self.request.is_some()
    }

    /// Whether no request has come so far.
    pub fn none_yet(&self) -> bool {
        self.next_exchange == 0
    }

    /// The number of the next request.
    pub fn next_exchange(&self) -> u64 {
        self.next_exchange
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
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        let codings = Codings::new(head.headers.all("content-encoding"));
        self.request = Some(Message::new(Some(exchange), codings, bytes, found));
        self.pending.push_back(Pending {
            exchange,
            method: head.method.clone(),
        });
        sink(HttpEvent::RequestHead { exchange, head });
    }

    /// An interim response (RFC 9110 section 15.2) of so many bytes has come.
    pub fn interim(&mut self, bytes: u64) {
        self.interim = self.interim.saturating_add(bytes);
    }

    /// A final response begins; gives the exchange that it belongs to, if that was seen.
    pub fn answer(&mut self, head: ResponseHead, bytes: u64, found: bool, sink: Sink<'_>) -> Option<u64> {
        self.pipelined |= !found && self.pending.len() > 1;
        let exchange = self.pending.front().map(|pending| pending.exchange);
        let codings = Codings::new(head.headers.all("content-encoding"));
        let bytes = bytes + std::mem::take(&mut self.interim);
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
        self.framing(response, data.len() as u64, sink);
        let Some(message) = self.message(response) else {
            return;
        };
        message.body(data, |exchange, data| {
            sink(match response {
                true => HttpEvent::ResponseBody { exchange, data },
                false => HttpEvent::RequestBody { exchange, data },
            });
        });
    }

    /// `len` bytes of the message under way have come; without one they belong to nothing.
    pub fn framing(&mut self, response: bool, len: u64, sink: Sink<'_>) {
        match self.message(response) {
            Some(message) if message.exchange.is_some() => message.wire_bytes += len,
            _ if len == 0 => {}
            _ => sink(HttpEvent::Skipped {
                response,
                seen: len,
                missed: 0,
            }),
        }
    }

    /// `len` bytes are missing inside the message under way, or between messages.
    pub fn missed(&mut self, response: bool, len: u64, sink: Sink<'_>) {
        match self.message(response) {
            Some(message) if message.exchange.is_some() => message.missed(len),
            _ => sink(HttpEvent::Skipped {
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
        let end = message.end(state);
        if response {
            self.pending.retain(|pending| pending.exchange != exchange);
            return sink(HttpEvent::ResponseEnd { exchange, end });
        }
        sink(HttpEvent::RequestEnd { exchange, end });
    }

    /// Nothing more was sent so far: a request that was answered before its end is not waited for.
    pub fn settle(&mut self, sink: Sink<'_>) {
        let waits = |exchange| {
            self.pending
                .iter()
                .any(|pending| Some(pending.exchange) == exchange)
        };
        if self
            .request
            .as_ref()
            .is_some_and(|request| !waits(request.exchange))
        {
            self.end(false, BodyState::Aborted, sink);
        }
    }

    /// Ends the exchange that is next to be answered.
    pub fn finish_front(&mut self, state: BodyState, sink: Sink<'_>) {
        let Some(exchange) = self.pending.front().map(|pending| pending.exchange) else {
            return;
        };
        let end = match self.response.take() {
            Some(message) if message.exchange == Some(exchange) => message.end(state),
            _ => {
                let interim = std::mem::take(&mut self.interim);
                Message::new(None, Codings::default(), interim, false).end(state)
            }
        };
        self.pending.pop_front();
        sink(HttpEvent::ResponseEnd { exchange, end });
    }

    /// The exchange that is next to be answered goes on in another protocol.
    pub fn hand_over(&mut self) -> Option<u64> {
        self.pending.pop_front().map(|pending| pending.exchange)
    }

    /// The requests that wait for their answers, until they are [restored](Self::restore).
    pub fn set_aside(&mut self) -> Waiting {
        Waiting(std::mem::take(&mut self.pending))
    }

    pub fn restore(&mut self, waiting: Waiting) {
        self.pending = waiting.0;
    }

    /// Ends everything that is open; a response to a request that was not seen goes on.
    pub fn abandon(&mut self, state: BodyState, sink: Sink<'_>) {
        self.response = self.response.take().filter(|message| message.exchange.is_some());
        self.end(false, state, sink);
        while !self.pending.is_empty() {
            self.finish_front(state, sink);
        }
        // Of a request that was not seen.
        let interim = std::mem::take(&mut self.interim);
        self.framing(true, interim, sink);
    }

    /// A response was found by search while several requests wait: whoever asks again has had the answers before, so it is the
    /// newest's, unless the client has pipelined before, and then nothing can be told any more.
    pub fn after_loss(&mut self, sink: Sink<'_>) {
        if self.pending.len() < 2 {
            return;
        }
        let keep = usize::from(!self.pipelined);
        while self.pending.len() > keep {
            self.finish_front(BodyState::Gap, sink);
        }
    }
}
