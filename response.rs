//! The server's direction.
//!
//! In: its bytes, gaps and end. Out: response events of the exchanges that wait. Never: a response event for a
//! response whose request is not certain.

use super::connection::{Connection, Expect, State};
use super::framing::{Framing, Hole, Plan, Progress};
use super::head::{Collected, RawHead};
use super::message::{Ended, Message, Sink, bodiless};
use super::pairing::{Exchange, Method};
use super::resync::Scanner;
use super::{BodyState, HttpEvent, ResponseHead};
use crate::limits::HTTP_EARLY_BYTES;

const STATUS: &[u8] = b"HTTP/";

impl Connection {
    pub(super) fn response_data(&mut self, data: &[u8], sink: Sink<'_>) {
        let mut rest = data;
        while !rest.is_empty() && !self.over {
            self.pairing.response_goes_on();
            let used = match self.response.state {
                State::Head if self.pairing.expects_request() => self.hold_early(rest, sink),
                State::Head => self.response_head(rest, sink),
                State::Message(_) => self.response_body(rest, sink),
                State::Orphan(_) => self.orphan_body(rest, sink),
                State::Resync(_) => self.response_resync(rest, sink),
                State::Ended => {
                    self.response.skipped.seen += rest.len() as u64;
                    rest.len()
                }
            };
            rest = rest.get(used..).unwrap_or_default();
        }
    }

    /// Nothing was lost and nobody waits: the request is still on its way from the other direction.
    fn hold_early(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        if self.early.len() + data.len() > HTTP_EARLY_BYTES {
            self.pairing.requests_uncertain();
            self.replay_early(sink);
            return 0;
        }
        self.early.extend_from_slice(data);
        if !self.detected && self.early.iter().zip(STATUS).any(|(byte, status)| byte != status) {
            self.not_http(sink);
        }
        data.len()
    }

    pub(super) fn replay_early(&mut self, sink: Sink<'_>) {
        if !self.early.is_empty() && !self.pairing.expects_request() {
            let early = std::mem::take(&mut self.early);
            self.response_data(&early, sink);
        }
    }

    fn response_head(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let (used, wire, parsed) = match self.response.head.feed(data) {
            Collected::Partial => return data.len(),
            Collected::TooLong { used } => (used, self.response.head.len(), Err("head is over its cap")),
            Collected::Complete { head, used } => (used, head.bytes.len(), head.response()),
        };
        self.response.head.clear();
        match parsed {
            Ok(head) => self.response_begins(head, wire as u64, sink),
            Err(why) => self.response_malformed(why, wire as u64, sink),
        }
        used
    }

    fn response_begins(&mut self, head: ResponseHead, wire: u64, sink: Sink<'_>) {
        self.response.state = State::Head;
        let front = self.pairing.waiting.front().copied();
        if matches!(head.status, 100 | 102..=199) {
            if head.status == 100 && self.expect == Expect::Asked {
                self.expect = Expect::Nothing;
            }
            match front {
                Some(_) => self.interim += wire,
                None => self.response.skipped.seen += wire,
            }
            return;
        }
        match front {
            Some(exchange) => self.answer_begins(exchange, head, wire, sink),
            None => self.orphan_begins(&head, wire, sink),
        }
    }

    fn answer_begins(&mut self, exchange: Exchange, head: ResponseHead, wire: u64, sink: Sink<'_>) {
        self.response.report_skipped(true, sink);
        let wire = wire + std::mem::take(&mut self.interim);
        if self.expect == Expect::Asked && !exchange.asked {
            self.expect = Expect::Refused;
        }
        let plan = Plan::of_response(&head, exchange.method == Method::Head);
        let protocol = upgrade(exchange.method, &head);
        let id = exchange.id;
        sink(HttpEvent::ResponseHead { exchange: id, head });
        if let Some(protocol) = protocol {
            return self.upgraded(id, protocol, wire, sink);
        }
        match plan {
            Ok(plan) if matches!(plan.framing, Framing::Length(0)) => {
                self.pairing.waiting.pop_front();
                self.conclude(exchange, bodiless(BodyState::Complete, wire, 0), sink);
            }
            Ok(plan) => {
                self.response.state = State::Message(Box::new(Message::new(id, true, &plan, wire)));
            }
            Err(why) => {
                self.pairing.waiting.pop_front();
                self.conclude(exchange, bodiless(BodyState::Malformed(why), wire, 0), sink);
                self.responses_lost(sink);
            }
        }
    }

    /// Both directions are another protocol from here on.
    fn upgraded(&mut self, exchange: u64, protocol: String, wire: u64, sink: Sink<'_>) {
        sink(HttpEvent::Upgraded { exchange, protocol });
        self.end_request_body(BodyState::Aborted, sink);
        if let Some(front) = self.pairing.waiting.pop_front() {
            self.conclude(front, bodiless(BodyState::Complete, wire, 0), sink);
        }
        self.conclude_waiting(BodyState::Aborted, sink);
        self.request.drop_partial();
        self.request.report_skipped(false, sink);
        self.stop();
    }

    fn orphan_begins(&mut self, head: &ResponseHead, wire: u64, sink: Sink<'_>) {
        self.response.skipped.seen += wire;
        self.pairing.orphan_begins();
        match Plan::of_response(head, head.status == 101) {
            Ok(plan) if matches!(plan.framing, Framing::Length(0)) => self.response.report_skipped(true, sink),
            Ok(plan) => self.response.state = State::Orphan(plan.framing),
            Err(_) => self.responses_lost(sink),
        }
    }

    fn orphan_body(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let State::Orphan(framing) = &mut self.response.state else {
            return 0;
        };
        let run = framing.next(data);
        let used = run.overhead + run.payload;
        self.response.skipped.seen += used as u64;
        match run.progress {
            Progress::More => {}
            Progress::End => {
                self.response.state = State::Head;
                self.response.report_skipped(true, sink);
            }
            Progress::Broken(_) => self.responses_lost(sink),
        }
        used
    }

    fn response_body(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let State::Message(message) = &mut self.response.state else {
            return 0;
        };
        let (used, ended) = message.feed(data, sink);
        match ended {
            Ended::No => {}
            Ended::Whole => self.end_response_body(BodyState::Complete, sink),
            Ended::Broken(why) => {
                self.end_response_body(BodyState::Malformed(why), sink);
                self.responses_lost(sink);
            }
        }
        used
    }

    fn response_resync(&mut self, data: &[u8], sink: Sink<'_>) -> usize {
        let State::Resync(scanner) = &mut self.response.state else {
            return 0;
        };
        let scanned = scanner.feed(data);
        self.response.skipped.seen += scanned.skipped;
        if let Some(bytes) = scanned.head {
            match RawHead::of(&bytes).response() {
                Ok(head) => self.response_begins(head, bytes.len() as u64, sink),
                Err(_) => {
                    self.response.skipped.seen += bytes.len() as u64;
                    self.response.state = State::Resync(Scanner::new(true));
                }
            }
        }
        scanned.used
    }

    /// A head that is none: the exchange that it should answer ends with it.
    fn response_malformed(&mut self, why: &'static str, wire: u64, sink: Sink<'_>) {
        match self.pairing.waiting.pop_front() {
            Some(exchange) => {
                let wire = wire + std::mem::take(&mut self.interim);
                self.conclude(exchange, bodiless(BodyState::Malformed(why), wire, 0), sink);
            }
            None => self.response.skipped.seen += wire,
        }
        self.responses_lost(sink);
    }

    /// `missing` bytes of the server did not reach us.
    pub(super) fn response_gap(&mut self, missing: u64, sink: Sink<'_>) {
        match &mut self.response.state {
            State::Message(message) => match message.gap(missing) {
                Hole::Inside => {}
                Hole::Past(beyond) => {
                    self.end_response_body(BodyState::Gap, sink);
                    if beyond > 0 {
                        self.response_gap(beyond, sink);
                    }
                }
                Hole::Lost => {
                    self.end_response_body(BodyState::Gap, sink);
                    self.responses_lost(sink);
                }
            },
            State::Orphan(framing) => {
                self.response.skipped.missed += missing;
                if framing.gap(missing) != Hole::Inside {
                    self.responses_lost(sink);
                }
            }
            State::Head => self.gap_at_head(missing, sink),
            State::Resync(_) | State::Ended => {
                self.response.drop_partial();
                self.response.skipped.missed += missing;
            }
        }
    }

    fn gap_at_head(&mut self, missing: u64, sink: Sink<'_>) {
        self.response.skipped.seen += self.early.len() as u64;
        self.early = Vec::new();
        match self.pairing.waiting.pop_front() {
            Some(exchange) => {
                let wire = self.response.head.len() as u64 + std::mem::take(&mut self.interim);
                self.response.head.clear();
                self.conclude(exchange, bodiless(BodyState::Gap, wire, missing), sink);
            }
            None => {
                self.response.drop_partial();
                self.response.skipped.missed += missing;
            }
        }
        self.responses_lost(sink);
    }

    /// The place of the next response is unknown.
    fn responses_lost(&mut self, sink: Sink<'_>) {
        self.response.state = State::Resync(Scanner::new(true));
        for exchange in self.pairing.responses_lost() {
            self.conclude(exchange, bodiless(BodyState::Gap, 0, 0), sink);
        }
    }

    pub(super) fn response_ends(&mut self, sink: Sink<'_>) {
        self.response.skipped.seen += self.early.len() as u64;
        self.early = Vec::new();
        match &self.response.state {
            State::Message(message) => {
                let whole = message.ends_with_connection();
                let state = if whole { BodyState::Complete } else { BodyState::Aborted };
                self.end_response_body(state, sink);
            }
            State::Head => {
                if let Some(exchange) = self.pairing.waiting.pop_front() {
                    let wire = self.response.head.len() as u64 + std::mem::take(&mut self.interim);
                    self.response.head.clear();
                    self.conclude(exchange, bodiless(BodyState::Aborted, wire, 0), sink);
                }
            }
            State::Orphan(_) | State::Resync(_) | State::Ended => {}
        }
        self.response.drop_partial();
        self.response.state = State::Ended;
        self.conclude_waiting(BodyState::Aborted, sink);
        self.response.report_skipped(true, sink);
    }

    fn end_response_body(&mut self, state: BodyState, sink: Sink<'_>) {
        if let State::Message(message) = std::mem::replace(&mut self.response.state, State::Head) {
            let end = message.end(state, sink);
            if let Some(exchange) = self.pairing.waiting.pop_front() {
                self.conclude(exchange, end, sink);
            }
        }
    }
}

/// What the connection becomes with this response: RFC 9110 sections 7.8 and 9.3.6.
fn upgrade(method: Method, head: &ResponseHead) -> Option<String> {
    match (method, head.status) {
        (_, 101) => Some(head.headers.first("upgrade").unwrap_or_default().to_owned()),
        (Method::Connect, 200..=299) => Some("connect".to_owned()),
        _ => None,
    }
}
