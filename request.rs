//! The client's direction.
//!
//! In: its bytes, gaps and end. Out: request events, and exchanges to pair. Never: response bytes, except those
//! that waited for their request.

use super::connection::{Connection, Expect, State};
use super::detect::{is_request_line, may_begin_request};
use super::framing::{Framing, Hole, Plan};
use super::head::{Collected, Opening, RawHead};
use super::message::{Ended, Message, Sink, bodiless};
use super::pairing::{Admission, Exchange, Method};
use super::resync::Scanner;
use super::{BodyEnd, BodyState, HttpEvent, RequestHead};
use crate::limits::HTTP_SEARCH_BYTES;

impl Connection {
    pub(super) fn request_data(&mut self, data: &[u8], sink: Sink<'_>) {
        let mut rest = data;
        while !rest.is_empty() && !self.over {
            let used = match self.request.state {
                State::Head => self.request_head(rest, sink),
                State::Message(_) if self.expect == Expect::Refused => self.request_or_body(rest, sink),
                State::Message(_) => self.request_body(rest, sink),
                State::Resync(_) => self.request_resync(rest, sink),
                State::Orphan(_) | State::Ended => {
                    self.request.skipped.seen += rest.len() as u64;
                    rest.len()
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    fn request_head(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let (used, wire, parsed) = match self.request.head.feed(data) {
            Collected::Partial => {
                if !self.detected && self.opening_is_foreign() {
                    self.not_http(sink);
                }
                return data.len();
            }
            Collected::TooLong { used } => (used, self.request.head.len(), None),
            Collected::Complete { head, used } => {
                self.detected |= is_request_line(head.first_line());
                (used, head.bytes.len(), head.request().ok())
            }
        };
        self.request.head.clear();
        match parsed {
            Some(head) => self.request_begins(head, wire as u64, sink),
            None if !self.detected => self.not_http(sink),
            None => {
                self.request.skipped.seen += wire as u64;
                self.request_lost(true, sink);
            }
        }
        used
    }

    /// Whether the first bytes of the connection cannot be a request.
    fn opening_is_foreign(&mut self) -> bool {
        match self.request.head.opening() {
            Opening::Prefix(prefix) => !prefix.is_empty() && !may_begin_request(prefix),
            Opening::Line(line) => {
                self.detected = is_request_line(line);
                !self.detected
            }
        }
    }

    fn request_begins(&mut self, head: RequestHead, wire: u64, sink: Sink<'_>) {
        self.detected = true;
        self.request.report_skipped(false, sink);
        let plan = Plan::of_request(&head);
        let exchange = Exchange {
            id: self.next_exchange,
            method: Method::named(&head.method),
            asked: false,
        };
        self.next_exchange += 1;
        self.admit(exchange);
        let expects = head
            .headers
            .all("expect")
            .any(|value| value.eq_ignore_ascii_case("100-continue"));
        sink(HttpEvent::RequestHead {
            exchange: exchange.id,
            head,
        });
        match plan {
            Ok(plan) if matches!(plan.framing, Framing::Length(0)) => {
                self.request.state = State::Head;
                self.request_ended(exchange.id, bodiless(BodyState::Complete, wire, 0), sink);
            }
            Ok(plan) => {
                self.expect = if expects { Expect::Asked } else { Expect::Nothing };
                self.request.state = State::Message(Box::new(Message::new(exchange.id, false, &plan, wire)));
            }
            Err(why) => {
                self.request_ended(exchange.id, bodiless(BodyState::Malformed(why), wire, 0), sink);
                self.request_lost(false, sink);
            }
        }
        self.replay_early(sink);
    }

    /// Queues the exchange for its response, or settles that none can be told to be its own.
    fn admit(&mut self, exchange: Exchange) {
        if matches!(self.response.state, State::Ended) {
            self.late = Some((exchange.id, bodiless(BodyState::Aborted, 0, 0)));
            return;
        }
        let at_rest = match self.response.state {
            State::Head => self.response.head.len() == 0,
            State::Resync(_) => true,
            State::Message(_) | State::Orphan(_) | State::Ended => false,
        };
        let state = match self.pairing.admit(exchange, at_rest) {
            Admission::Queued => return,
            Admission::Restarted => {
                self.response.drop_partial();
                self.response.state = State::Head;
                return;
            }
            Admission::Single => BodyState::Gap,
            Admission::Full => BodyState::Malformed("too many requests wait for a response"),
        };
        if matches!(self.response.state, State::Orphan(_)) {
            // Its framing may be mistaken, or else its client pipelines; what follows must speak for itself.
            self.response.state = State::Resync(Scanner::new(true));
        }
        self.late = Some((exchange.id, bodiless(state, 0, 0)));
    }

    fn request_body(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        self.expect = Expect::Nothing;
        let State::Message(message) = &mut self.request.state else {
            return 0;
        };
        let (used, ended) = message.feed(data, sink);
        match ended {
            Ended::No => {}
            Ended::Whole => self.end_request_body(BodyState::Complete, sink),
            Ended::Broken(why) => {
                self.end_request_body(BodyState::Malformed(why), sink);
                self.request_lost(false, sink);
            }
        }
        used
    }

    /// After a final response to `Expect: 100-continue` the client sends the body or the next request.
    fn request_or_body(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let line = data.iter().position(|&byte| byte == b'\n').map_or(data.len(), |at| at + 1);
        let line = data.get(..line).unwrap_or(data);
        let too_long = matches!(self.request.head.feed(line), Collected::TooLong { .. });
        let is_request = match self.request.head.opening() {
            Opening::Prefix(prefix) if prefix.is_empty() || may_begin_request(prefix) => None,
            Opening::Prefix(_) => Some(false),
            Opening::Line(first) => Some(is_request_line(first)),
        };
        match is_request {
            None if !too_long => {}
            Some(true) => self.end_request_body(BodyState::Aborted, sink),
            None | Some(false) => self.settle_for_body(sink),
        }
        line.len()
    }

    /// What was held as a possible request is body.
    fn settle_for_body(&mut self, sink: Sink<'_>) {
        self.expect = Expect::Nothing;
        let held = self.request.head.take();
        self.request_data(&held, sink);
    }

    fn request_resync(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let State::Resync(scanner) = &mut self.request.state else {
            return 0;
        };
        let mut piece = data;
        if !self.detected {
            let left = usize::try_from(HTTP_SEARCH_BYTES - self.searched).unwrap_or(usize::MAX);
            piece = data.get(..left).unwrap_or(data);
        }
        let scanned = scanner.feed(piece);
        self.request.skipped.seen += scanned.skipped;
        if let Some(bytes) = scanned.head {
            match RawHead::of(&bytes).request() {
                Ok(head) => self.request_begins(head, bytes.len() as u64, sink),
                Err(_) => self.drop_found(&bytes),
            }
        } else if !self.detected {
            self.searched += scanned.used as u64;
            if self.searched >= HTTP_SEARCH_BYTES {
                self.detected = scanner.has_candidate();
                if !self.detected {
                    self.not_http(sink);
                }
            }
        }
        scanned.used
    }

    fn drop_found(&mut self, bytes: &[u8]) {
        self.request.skipped.seen += bytes.len() as u64;
        self.request.state = State::Resync(Scanner::new(false));
    }

    /// `missing` bytes of the client did not reach us.
    pub(super) fn request_gap(&mut self, missing: u64, sink: Sink<'_>) {
        if self.expect == Expect::Refused {
            self.settle_for_body(sink);
        }
        match &mut self.request.state {
            State::Message(message) => match message.gap(missing) {
                Hole::Inside => self.expect = Expect::Nothing,
                Hole::Past(beyond) => {
                    self.end_request_body(BodyState::Gap, sink);
                    if beyond > 0 {
                        self.request_gap(beyond, sink);
                    }
                }
                Hole::Lost => {
                    self.end_request_body(BodyState::Gap, sink);
                    self.request_lost(false, sink);
                }
            },
            State::Head => {
                self.request.drop_partial();
                self.request.skipped.missed += missing;
                self.request_lost(true, sink);
            }
            State::Resync(_) | State::Orphan(_) | State::Ended => {
                self.request.drop_partial();
                self.request.skipped.missed += missing;
            }
        }
    }

    /// The place of the next request is unknown; `whole`: at least one was lost with all its bytes.
    fn request_lost(&mut self, whole: bool, sink: Sink<'_>) {
        self.request.state = State::Resync(Scanner::new(false));
        self.pairing.requests_uncertain();
        self.replay_early(sink);
        if whole {
            self.pairing.request_lost();
        }
    }

    pub(super) fn request_ends(&mut self, sink: Sink<'_>) {
        if self.expect == Expect::Refused && self.request.head.len() > 0 {
            self.settle_for_body(sink);
        }
        if matches!(self.request.state, State::Message(_)) {
            self.end_request_body(BodyState::Aborted, sink);
        }
        self.request.drop_partial();
        self.request.state = State::Ended;
        self.request.report_skipped(false, sink);
    }

    pub(super) fn end_request_body(&mut self, state: BodyState, sink: Sink<'_>) {
        self.expect = Expect::Nothing;
        if let State::Message(message) = std::mem::replace(&mut self.request.state, State::Head) {
            let id = message.exchange();
            let end = message.end(state, sink);
            self.request_ended(id, end, sink);
        }
    }

    fn request_ended(&mut self, exchange: u64, end: BodyEnd, sink: Sink<'_>) {
        sink(HttpEvent::RequestEnd { exchange, end });
        self.pairing.asked(exchange);
        if let Some((exchange, end)) = self.late.take_if(|(late, _)| *late == exchange) {
            sink(HttpEvent::ResponseEnd { exchange, end });
        }
    }
}
