//! HTTP/1.0 and HTTP/1.1 (RFC 9112): framing of both directions.
//!
//! In: pieces of both directions in the order in which they happened. Out: [`HttpEvent`]s, by way of [`pairing`]; after
//! 101 what the connection goes on with. Never: more than one head or line of each direction held.

mod direction;
mod head;
mod lines;
mod pairing;

use super::message::Message;
use super::{BodyState, Chunk, Headers, HttpEvent, Sink};
use direction::{Direction, Step};
use head::Framing;
use pairing::Pairs;

/// Bytes that are searched for a first request on a connection that was joined.
const SEARCH_MAX: u64 = 64 * 1024;

/// What a connection goes on with after 101, and what of it came already: bytes of client and server.
#[derive(Debug)]
pub enum Switch {
    /// The exchange is answered in HTTP/2.
    Http2 {
        exchange: u64,
        /// The first number that no exchange has.
        next: u64,
        rest: [Vec<u8>; 2],
    },
    /// The exchange goes on until the WebSocket ends; with the answer to its handshake, and the head of that.
    WebSocket {
        exchange: u64,
        handshake: Box<Message>,
        headers: Headers,
        rest: [Vec<u8>; 2],
    },
}

impl Switch {
    fn rest(&mut self) -> &mut [Vec<u8>; 2] {
        match self {
            Self::Http2 { rest, .. } | Self::WebSocket { rest, .. } => rest,
        }
    }
}

/// The HTTP/1 of one connection.
#[derive(Debug)]
pub struct H1 {
    request: Direction,
    response: Direction,
    pairs: Pairs,
    joined: bool,
    over: bool,
    switch: Option<Switch>,
}

impl H1 {
    /// `joined`: the connection is older than our sight of it.
    pub fn new(joined: bool) -> Self {
        Self {
            request: Direction::new(false, joined),
            response: Direction::new(true, joined),
            pairs: Pairs::default(),
            joined,
            over: false,
            switch: None,
        }
    }

    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        self.pairs.pending()
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
            Chunk::Data(data) => self.data(response, data, sink),
            Chunk::Gap(len) => self.gap(response, len, sink),
            Chunk::Eof => self.eof(response, sink),
        }
        for response in [false, true] {
            self.tell_dropped(response, sink);
        }
    }

    /// Bytes of the server that are older than the requests that are open, and so no answers to them.
    pub fn answered_before(&mut self, data: &[u8], sink: Sink<'_>) {
        if !data.is_empty() {
            let open = self.pairs.set_aside();
            self.push(true, Chunk::Data(data), sink);
            self.pairs.restore(open);
            self.response.ends_unseen();
        }
    }

    /// What was held back for a head and is in none belongs to nothing.
    fn tell_dropped(&mut self, response: bool, sink: Sink<'_>) {
        let seen = self.direction(response).dropped();
        if seen > 0 {
            sink(HttpEvent::Skipped {
                response,
                seen,
                missed: 0,
            });
        }
    }

    /// The connection is gone: everything open ends.
    pub fn close(&mut self, sink: Sink<'_>) {
        self.eof(true, sink);
        self.pairs.abandon(BodyState::Aborted, sink);
        self.stop(sink);
    }

    /// We look away while the connection goes on: everything open ends as a part.
    pub fn lose(&mut self, sink: Sink<'_>) {
        self.pairs.abandon(BodyState::Gap, sink);
        self.stop(sink);
    }

    fn stop(&mut self, sink: Sink<'_>) {
        self.over = true;
        for response in [false, true] {
            self.direction(response).over();
            self.tell_dropped(response, sink);
        }
    }

    /// The client had sent no more than came.
    pub fn settle(&mut self, sink: Sink<'_>) {
        self.pairs.settle(sink);
    }

    /// Whether a request was seen.
    pub fn begun(&self) -> bool {
        !self.pairs.none_yet()
    }

    /// What the connection goes on with, once; nothing more is read here then.
    pub fn switched(&mut self) -> Option<Switch> {
        self.switch.take()
    }

    /// Whether so much was searched in vain that this is something else.
    pub fn gave_up(&self) -> bool {
        self.joined && self.pairs.none_yet() && self.request.searched > SEARCH_MAX
    }

    fn direction(&mut self, response: bool) -> &mut Direction {
        if response {
            &mut self.response
        } else {
            &mut self.request
        }
    }

    fn data(&mut self, response: bool, mut data: &[u8], sink: Sink<'_>) {
        while !data.is_empty() {
            let (taken, step) = self.direction(response).step(data);
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
            if let Some(switch) = &mut self.switch {
                let [_, server] = switch.rest();
                server.extend_from_slice(data);
                return;
            }
        }
    }

    /// A length that is used up ends the body without another byte.
    fn end_if_due(&mut self, response: bool, sink: Sink<'_>) {
        let direction = self.direction(response);
        if direction.ends_now() {
            let _ = direction.step(&[]);
            self.pairs.end(response, BodyState::Complete, sink);
        }
    }

    fn apply(&mut self, response: bool, step: Step<'_>, body: &[u8], sink: Sink<'_>) {
        match step {
            Step::Body(_) => self.pairs.body(response, body, sink),
            Step::Framing(len) => self.pairs.framing(response, len, sink),
            Step::Missed(len) => self.pairs.missed(response, len, sink),
            Step::End => {
                self.pairs.framing(response, body.len() as u64, sink);
                self.pairs.end(response, BodyState::Complete, sink);
            }
            Step::Broken(why, len) => {
                self.pairs.framing(response, len, sink);
                self.pairs.end(response, BodyState::Malformed(why), sink);
            }
            Step::Lost(len) => {
                self.pairs.missed(response, len, sink);
                self.pairs.end(response, BodyState::Gap, sink);
            }
            Step::Skipped { seen: 0, missed: 0 } | Step::Head { .. } => {}
            Step::Skipped { seen, missed } => sink(HttpEvent::Skipped {
                response,
                seen,
                missed,
            }),
        }
    }

    fn head(&mut self, response: bool, bytes: &[u8], found: bool, sink: Sink<'_>) {
        if response {
            self.response_head(bytes, found, sink);
        } else {
            self.request_head(bytes, found, sink);
        }
        self.direction(response).head_read();
    }

    fn refuse(&mut self, response: bool, bytes: &[u8], sink: Sink<'_>) {
        self.direction(response).refuse();
        sink(HttpEvent::Skipped {
            response,
            seen: bytes.len() as u64,
            missed: 0,
        });
    }

    fn request_head(&mut self, bytes: &[u8], found: bool, sink: Sink<'_>) {
        let Ok((head, framing)) = head::request(bytes) else {
            return self.refuse(false, bytes, sink);
        };
        if found || self.pairs.full() {
            // Whoever asks again has had the answers before, unless it pipelines.
            self.drop_unanswered(sink);
        }
        self.pairs.ask(head, bytes.len() as u64, found, sink);
        self.request.body(framing);
        if matches!(framing, Framing::None | Framing::Length(0)) {
            self.pairs.end(false, BodyState::Complete, sink);
        }
    }

    fn response_head(&mut self, bytes: &[u8], found: bool, sink: Sink<'_>) {
        if found {
            self.pairs.after_loss(sink);
        }
        let (head, framing) = match head::response(bytes, self.pairs.method()) {
            Ok(parsed) => parsed,
            Err(why) => {
                self.refuse(true, bytes, sink);
                return self.pairs.finish_front(BodyState::Malformed(why), sink);
            }
        };
        let interim = (100..=199).contains(&head.status) && head.status != 101;
        if interim {
            self.pairs.interim(bytes.len() as u64);
            self.response.next_is_found(found);
            return self.response.body(Framing::None);
        }
        self.response.body(framing);
        let protocol = head.headers.first("upgrade").unwrap_or("tunnel").to_owned();
        if framing == Framing::Tunnel && protocol.eq_ignore_ascii_case("h2c") {
            return self.switch_to_http2(sink);
        }
        let websocket = framing == Framing::Tunnel && protocol.eq_ignore_ascii_case("websocket");
        let headers = websocket.then(|| head.headers.clone());
        let answered = self.pairs.answer(head, bytes.len() as u64, found, sink);
        if answered.is_none() {
            self.request.ends_unseen();
        }
        match (framing, answered) {
            (Framing::Tunnel, Some(exchange)) => self.tunnel(exchange, protocol, headers, sink),
            (Framing::None | Framing::Length(0), _) => self.pairs.end(true, BodyState::Complete, sink),
            _ => {}
        }
    }

    fn switch_to_http2(&mut self, sink: Sink<'_>) {
        self.pairs.end(false, BodyState::Aborted, sink);
        let rest = [self.request.stop(), Vec::new()];
        let next = self.pairs.next_exchange();
        self.switch = self
            .pairs
            .hand_over()
            .map(|exchange| Switch::Http2 { exchange, next, rest });
        self.pairs.abandon(BodyState::Aborted, sink);
        self.over = true;
    }

    /// `websocket`: the head of the answer, if that is what the connection goes on with.
    fn tunnel(&mut self, exchange: u64, protocol: String, websocket: Option<Headers>, sink: Sink<'_>) {
        sink(HttpEvent::Upgraded { exchange, protocol });
        let rest = [self.request.stop(), Vec::new()];
        if websocket.is_none() {
            // Nobody reads on.
            let [client, _] = &rest;
            sink(HttpEvent::Skipped {
                response: false,
                seen: client.len() as u64,
                missed: 0,
            });
        }
        self.switch = websocket.and_then(|headers| {
            self.pairs.end(false, BodyState::Aborted, sink);
            self.pairs.hand_over();
            Some(Switch::WebSocket {
                exchange,
                handshake: Box::new(self.pairs.message(true).take()?),
                headers,
                rest,
            })
        });
        self.over = self.switch.is_some();
        self.pairs.end(true, BodyState::Complete, sink);
        self.pairs.abandon(BodyState::Aborted, sink);
    }

    /// Ends what waits for an answer that must have been among the lost bytes.
    fn drop_unanswered(&mut self, sink: Sink<'_>) {
        self.pairs.abandon(BodyState::Gap, sink);
        *self.pairs.message(true) = None;
        if self.response.in_body() || self.response.in_head() {
            // What still comes of that answer belongs to nothing.
            let _ = self.response.gap(0);
            self.response.refuse();
        }
    }

    fn gap(&mut self, response: bool, len: u64, sink: Sink<'_>) {
        let direction = self.direction(response);
        let in_head = direction.in_head();
        if let Some(head) = direction.begun_line().and_then(head::of_line) {
            sink(HttpEvent::HeadLost { head });
        }
        let direction = self.direction(response);
        let (step, left) = direction.gap(len);
        self.apply(response, step, &[], sink);
        self.end_if_due(response, sink);
        if in_head && response {
            // The head of this answer is lost, and with it the knowledge of where it ends.
            self.pairs.finish_front(BodyState::Gap, sink);
        }
        if left > 0 {
            self.gap(response, left, sink);
        }
    }

    fn eof(&mut self, response: bool, sink: Sink<'_>) {
        if response {
            if self.response.reads_until_close() {
                self.pairs.end(true, BodyState::Complete, sink);
            }
        } else {
            self.pairs.end(false, BodyState::Aborted, sink);
        }
        self.direction(response).over();
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
        Step::Broken(why, len) => Step::Broken(why, len),
        Step::Lost(len) => Step::Lost(len),
        Step::Skipped { seen, missed } => Step::Skipped { seen, missed },
    }
}
