//! Pairs the requests of one connection with their responses.
//!
//! In: pieces of both directions in the order in which they happened. Out: [`HttpEvent`]s. Every request gets
//! exactly one `RequestEnd` and one `ResponseEnd`. Never: a response paired with another's request; after a loss
//! whatever is in doubt ends as a gap.

use super::coding::Codings;
use super::direction::{Direction, Step};
use super::head::{self, Framing};
use super::message::Message;
use super::{BodyEnd, BodyState, Chunk, HttpEvent};
use crate::limits;
use std::collections::VecDeque;

/// Bytes that are searched for a first request on a connection that was joined.
const SEARCH_MAX: u64 = 64 * 1024;

/// A request that waits for its response.
#[derive(Debug)]
struct Pending {
    exchange: u64,
    method: String,
    /// Its `RequestEnd` was sent.
    request_ended: bool,
    /// Its response's head was seen.
    answered: bool,
}

/// One connection. See the module.
#[derive(Debug)]
pub struct Connection {
    request: Direction,
    response: Direction,
    request_message: Option<Message>,
    response_message: Option<Message>,
    pending: VecDeque<Pending>,
    next_exchange: u64,
    /// The first bytes, until they are judged.
    opening: Option<Vec<u8>>,
    joined: bool,
    /// More than one request was pending at once.
    pipelined: bool,
    over: bool,
}

type Sink<'s> = &'s mut dyn FnMut(HttpEvent<'_>);

impl Connection {
    /// `joined`: the connection is older than our sight of it.
    pub fn new(joined: bool) -> Self {
        Self {
            request: Direction::new(false, joined),
            response: Direction::new(true, joined),
            request_message: None,
            response_message: None,
            pending: VecDeque::new(),
            next_exchange: 0,
            opening: (!joined).then(Vec::new),
            joined,
            pipelined: false,
            over: false,
        }
    }

    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Bytes that are held back until more come.
    pub fn buffered_bytes(&self) -> usize {
        self.request.held() + self.response.held()
    }

    /// The next piece of one direction.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        if self.over {
            return;
        }
        match chunk {
            Chunk::Data([]) => {}
            Chunk::Data(data) => self.data(response, data, sink),
            Chunk::Gap(len) => self.gap(response, len, sink),
            Chunk::Eof => self.eof(response, sink),
        }
    }

    /// The connection is gone: everything open ends.
    pub fn close(&mut self, sink: Sink<'_>) {
        self.eof(true, sink);
        self.abandon(BodyState::Aborted, sink);
    }

    /// We look away while the connection goes on: everything open ends as a part.
    pub fn lose(&mut self, sink: Sink<'_>) {
        self.abandon(BodyState::Gap, sink);
        self.over = true;
    }

    fn data(&mut self, response: bool, mut data: &[u8], sink: Sink<'_>) {
        if !self.believable(response, data) {
            self.over = true;
            sink(HttpEvent::NotHttp);
            return;
        }
        while !data.is_empty() && !self.over {
            let direction = if response {
                &mut self.response
            } else {
                &mut self.request
            };
            let (taken, step) = direction.step(data);
            let head = match step {
                Some(Step::Head { bytes, found }) => Some((bytes.to_vec(), found)),
                Some(step) => {
                    let step = detached(step);
                    let body = data.get(..taken).unwrap_or_default();
                    self.apply(response, step, body, sink);
                    None
                }
                None => None,
            };
            if let Some((bytes, found)) = head {
                self.head(response, &bytes, found, sink);
            }
            data = data.get(taken..).unwrap_or_default();
            self.end_if_due(response, sink);
        }
        self.give_up_search(sink);
    }

    /// A fresh connection's first bytes: HTTP/1 begins with the client's method, and HTTP/2 with one that
    /// no HTTP/1 request has.
    fn believable(&mut self, response: bool, data: &[u8]) -> bool {
        const METHOD_MAX: usize = 16;
        let Some(opening) = &mut self.opening else {
            return true;
        };
        opening.extend(data.iter().take(METHOD_MAX + 1));
        let word = opening
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase())
            .count();
        let believable = !response && word <= METHOD_MAX && !opening.starts_with(b"PRI ");
        let whole = word < opening.len();
        if whole && (word == 0 || opening.get(word) != Some(&b' ')) {
            return false;
        }
        if whole {
            self.opening = None;
        }
        believable
    }

    fn give_up_search(&mut self, sink: Sink<'_>) {
        if self.joined && self.next_exchange == 0 && self.request.searched > SEARCH_MAX {
            self.over = true;
            sink(HttpEvent::NotHttp);
        }
    }

    /// A length that is used up ends the body without another byte.
    fn end_if_due(&mut self, response: bool, sink: Sink<'_>) {
        let direction = if response {
            &mut self.response
        } else {
            &mut self.request
        };
        if direction.ends_now() {
            let _ = direction.step(&[]);
            self.end(response, BodyState::Complete, sink);
        }
    }

    fn apply(&mut self, response: bool, step: Step<'_>, body: &[u8], sink: Sink<'_>) {
        let message = if response {
            &mut self.response_message
        } else {
            &mut self.request_message
        };
        match step {
            Step::Body(_) => self.body(response, body, sink),
            Step::Framing(len) => {
                if let Some(message) = message {
                    message.wire_bytes += len;
                }
            }
            Step::Missed(len) => match message {
                Some(message) => message.missed(len),
                None => sink(HttpEvent::Skipped {
                    response,
                    seen: 0,
                    missed: len,
                }),
            },
            Step::End => {
                if let Some(message) = message {
                    message.wire_bytes += body.len() as u64;
                }
                self.end(response, BodyState::Complete, sink);
            }
            Step::Broken(why) => self.end(response, BodyState::Malformed(why), sink),
            Step::Lost(len) => {
                match message {
                    Some(message) => message.missed(len),
                    None => sink(HttpEvent::Skipped {
                        response,
                        seen: 0,
                        missed: len,
                    }),
                }
                self.end(response, BodyState::Gap, sink);
            }
            Step::Skipped { seen: 0, missed: 0 } | Step::Head { .. } => {}
            Step::Skipped { seen, missed } => sink(HttpEvent::Skipped {
                response,
                seen,
                missed,
            }),
        }
    }

    fn body(&mut self, response: bool, data: &[u8], sink: Sink<'_>) {
        let message = if response {
            &mut self.response_message
        } else {
            &mut self.request_message
        };
        let Some(message) = message else { return };
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

    fn head(&mut self, response: bool, bytes: &[u8], found: bool, sink: Sink<'_>) {
        if response {
            self.response_head(bytes, found, sink);
            self.response.head_read();
        } else {
            self.request_head(bytes, found, sink);
            self.request.head_read();
        }
    }

    fn request_head(&mut self, bytes: &[u8], found: bool, sink: Sink<'_>) {
        let (head, framing) = match head::request(bytes) {
            Ok(parsed) => parsed,
            Err(_) => {
                self.request.refuse();
                sink(HttpEvent::Skipped {
                    response: false,
                    seen: bytes.len() as u64,
                    missed: 0,
                });
                return;
            }
        };
        if found {
            // Whoever asks again has had the answers before, unless it pipelines.
            self.drop_unanswered(sink);
        }
        self.pipelined |= !self.pending.is_empty();
        let exchange = self.next_exchange;
        self.next_exchange += 1;
        if self.pending.len() >= limits::HTTP_PIPELINE {
            self.drop_unanswered(sink);
        }
        let codings = Codings::new(head.headers.all("content-encoding"));
        self.request_message = Some(Message::new(Some(exchange), codings, bytes.len() as u64, found));
        self.pending.push_back(Pending {
            exchange,
            method: head.method.clone(),
            request_ended: false,
            answered: false,
        });
        sink(HttpEvent::RequestHead { exchange, head });
        self.request.body(framing);
        if matches!(framing, Framing::None | Framing::Length(0)) {
            self.end(false, BodyState::Complete, sink);
        }
    }

    fn response_head(&mut self, bytes: &[u8], found: bool, sink: Sink<'_>) {
        if found && self.pending.len() > 1 {
            self.after_loss(sink);
        }
        let method = self.pending.front().map(|pending| pending.method.as_str());
        let (head, framing) = match head::response(bytes, method) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.response.refuse();
                sink(HttpEvent::Skipped {
                    response: true,
                    seen: bytes.len() as u64,
                    missed: 0,
                });
                self.finish_front(BodyState::Malformed(why), sink);
                return;
            }
        };
        let interim = (100..=199).contains(&head.status) && head.status != 101;
        if interim {
            self.response.body(Framing::None);
            return;
        }
        self.response.body(framing);
        let exchange = self.pending.front_mut().map(|pending| {
            pending.answered = true;
            pending.exchange
        });
        let codings = Codings::new(head.headers.all("content-encoding"));
        self.response_message = Some(Message::new(exchange, codings, bytes.len() as u64, found));
        let Some(exchange) = exchange else {
            sink(HttpEvent::Skipped {
                response: true,
                seen: bytes.len() as u64,
                missed: 0,
            });
            if matches!(framing, Framing::None | Framing::Length(0)) {
                self.response_message = None;
            }
            return;
        };
        let protocol = head.headers.first("upgrade").unwrap_or("tunnel").to_owned();
        sink(HttpEvent::ResponseHead { exchange, head });
        match framing {
            Framing::Tunnel => {
                sink(HttpEvent::Upgraded { exchange, protocol });
                self.end(true, BodyState::Complete, sink);
                self.request.stop();
                self.abandon(BodyState::Aborted, sink);
            }
            Framing::None | Framing::Length(0) => self.end(true, BodyState::Complete, sink),
            _ => {}
        }
    }

    /// A message ended, in the way that `state` says.
    fn end(&mut self, response: bool, state: BodyState, sink: Sink<'_>) {
        if response {
            let Some(message) = self.response_message.take() else {
                return;
            };
            let Some(exchange) = message.exchange else { return };
            self.end_request_of(exchange, sink);
            self.pending.retain(|pending| pending.exchange != exchange);
            sink(HttpEvent::ResponseEnd {
                exchange,
                end: message.end(state),
            });
        } else {
            let Some(message) = self.request_message.take() else {
                return;
            };
            let Some(exchange) = message.exchange else { return };
            let pending = self
                .pending
                .iter_mut()
                .find(|pending| pending.exchange == exchange);
            if let Some(pending) = pending.filter(|pending| !pending.request_ended) {
                pending.request_ended = true;
                sink(HttpEvent::RequestEnd {
                    exchange,
                    end: message.end(state),
                });
            }
        }
    }

    /// The response is over while its request is not: the server did not wait for the rest of it.
    fn end_request_of(&mut self, exchange: u64, sink: Sink<'_>) {
        let Some(pending) = self
            .pending
            .iter_mut()
            .find(|pending| pending.exchange == exchange)
        else {
            return;
        };
        if pending.request_ended {
            return;
        }
        pending.request_ended = true;
        let end = match self.request_message.as_ref().and_then(|message| message.exchange) {
            Some(current) if current == exchange => match self.request_message.take() {
                Some(message) => message.end(BodyState::Aborted),
                None => nothing(BodyState::Aborted),
            },
            _ => nothing(BodyState::Aborted),
        };
        sink(HttpEvent::RequestEnd { exchange, end });
    }

    /// Ends the exchange that is next to be answered.
    fn finish_front(&mut self, state: BodyState, sink: Sink<'_>) {
        let Some(exchange) = self.pending.front().map(|pending| pending.exchange) else {
            return;
        };
        let end = match self.response_message.take() {
            Some(message) if message.exchange == Some(exchange) => message.end(state),
            _ => nothing(state),
        };
        self.end_request_of(exchange, sink);
        self.pending.pop_front();
        sink(HttpEvent::ResponseEnd { exchange, end });
    }

    fn abandon(&mut self, state: BodyState, sink: Sink<'_>) {
        self.response_message = self
            .response_message
            .take()
            .filter(|message| message.exchange.is_some());
        while self.pending() {
            self.finish_front(state, sink);
        }
        self.request_message = None;
    }

    /// Ends what waits for an answer that must have been among the lost bytes.
    fn drop_unanswered(&mut self, sink: Sink<'_>) {
        self.abandon(BodyState::Gap, sink);
        self.response_message = None;
        if self.response.in_body() || self.response.in_head() {
            // What still comes of that answer belongs to nothing.
            let _ = self.response.gap(0);
            self.response.refuse();
        }
    }

    /// A response was found by search while several requests wait: it answers the newest, unless the client
    /// pipelines, and then nothing can be told any more.
    fn after_loss(&mut self, sink: Sink<'_>) {
        while self.pending.len() > 1 {
            self.finish_front(BodyState::Gap, sink);
        }
        if self.pipelined {
            self.finish_front(BodyState::Gap, sink);
        }
    }

    fn gap(&mut self, response: bool, len: u64, sink: Sink<'_>) {
        self.opening = None;
        let direction = if response {
            &mut self.response
        } else {
            &mut self.request
        };
        let in_head = direction.in_head();
        let (step, left) = direction.gap(len);
        let step = detached(step);
        self.apply(response, step, &[], sink);
        self.end_if_due(response, sink);
        if in_head && response {
            // The head of this answer is lost, and with it the knowledge of where it ends.
            self.finish_front(BodyState::Gap, sink);
        }
        if left > 0 {
            self.gap(response, left, sink);
        }
    }

    fn eof(&mut self, response: bool, sink: Sink<'_>) {
        if response {
            if self.response.reads_until_close() {
                self.end(true, BodyState::Complete, sink);
            }
            self.response.stop();
        } else {
            self.end(false, BodyState::Aborted, sink);
            self.request.stop();
        }
    }
}

/// The same step without the borrow of the direction; body bytes are taken from the input.
fn detached(step: Step<'_>) -> Step<'static> {
    match step {
        Step::Body(_) => Step::Body(&[]),
        Step::Head { found, .. } => Step::Head { bytes: &[], found },
        Step::Framing(len) => Step::Framing(len),
        Step::Missed(len) => Step::Missed(len),
        Step::End => Step::End,
        Step::Broken(why) => Step::Broken(why),
        Step::Lost(len) => Step::Lost(len),
        Step::Skipped { seen, missed } => Step::Skipped { seen, missed },
    }
}

/// The end of a message of which nothing was seen.
fn nothing(state: BodyState) -> BodyEnd {
    Message::new(None, Codings::default(), 0, false).end(state)
}

#[cfg(test)]
mod tests;
