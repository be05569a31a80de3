use super::*;
use crate::call::Call;
use crate::http::{Headers, HttpEvent, HttpVersion, RequestHead, ResponseHead};
use crate::infer::Decoder;
use crate::pipeline::exchange::{Exchanges, Traffic, Untold};
use crate::record::hash::{Algorithm, Hasher};

/// A call ends with each server's message `done`.
#[derive(Debug, Default)]
struct Session {
    asked_ns: u64,
    lost: bool,
    open: bool,
    ended: Vec<Ended>,
}

impl Decoder for Session {
    fn request_body(&mut self, _data: &[u8]) {}

    fn request_end(&mut self, _complete: bool) {}

    fn response(&mut self, _head: &ResponseHead) {}

    fn response_body(&mut self, _data: &[u8], _time_ns: u64) {}

    fn message(&mut self, message: Message<'_>) {
        match message.from {
            Side::Client => {
                self.asked_ns = message.time_ns;
                self.open = true;
            }
            Side::Server if message.data == b"done" => {
                self.open = false;
                self.ended.push(Ended {
                    call: Call::default(),
                    end: if std::mem::take(&mut self.lost) {
                        End::Partial
                    } else {
                        End::Complete
                    },
                    start_ns: self.asked_ns,
                    asked_ns: self.asked_ns,
                });
            }
            Side::Server => {}
        }
    }

    fn message_lost(&mut self, _from: Side) {
        self.lost = true;
    }

    fn calls(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    fn has_call(&self) -> bool {
        self.open
    }

    fn finish(self: Box<Self>, _end: End) -> Call {
        Call::default()
    }
}

fn session() -> Exchanges {
    let mut exchanges = Exchanges::default();
    let head = RequestHead {
        method: "GET".into(),
        target: "/v1/realtime".into(),
        version: HttpVersion::Http11,
        headers: Headers::default(),
    };
    let finished = Finished::begin(0, &head, 1, &hasher());
    let open = Open {
        asked: true,
        answered: None,
        part: Vec::new(),
        keeps_part: false,
        decoder: Box::new(Session::default()),
        finished,
        perhaps: false,
        traffic: Traffic::default(),
        untold: Untold::default(),
        close_error: None,
        held: 0,
        cut: false,
    };
    exchanges.open.insert(0, open);
    exchanges
}

fn hasher() -> Hasher {
    Hasher::new([7; 32].into(), Algorithm::HmacSha256)
}

fn message(response: bool, data: &[u8]) -> HttpEvent<'_> {
    HttpEvent::Message {
        exchange: 0,
        response,
        binary: false,
        data,
        wire_bytes: data.len() as u64 + 2,
    }
}

fn end(state: BodyState) -> HttpEvent<'static> {
    let end = Sent::default().take(state);
    HttpEvent::ResponseEnd { exchange: 0, end }
}

#[test]
fn a_session_gives_each_call_with_its_own_bytes_and_times() {
    let mut exchanges = session();
    let mut give = |event, time_ns| exchanges.event(event, time_ns, &hasher());
    assert!(give(message(false, b"ask"), 10).is_empty());
    assert!(give(message(true, b"part"), 20).is_empty());
    let first = give(message(true, b"done"), 30).remove(0);
    assert_eq!((first.start_ns, first.asked_ns, first.end_ns), (10, 10, 30));
    assert_eq!((first.request.wire_bytes, first.response.wire_bytes), (5, 12));
    assert_eq!(first.response.body_sha256, *Sha256::digest(b"partdone"));
    give(message(false, b"again"), 40);
    let second = give(message(true, b"done"), 50).remove(0);
    assert_eq!((second.request.wire_bytes, second.response.wire_bytes), (7, 6));
    assert!(give(end(BodyState::Complete), 60).is_empty(), "no call was open");
}

#[test]
fn a_lost_message_makes_its_call_partial_and_no_other() {
    let mut exchanges = session();
    let mut give = |event, time_ns| exchanges.event(event, time_ns, &hasher());
    give(message(false, b"ask"), 10);
    let lost = HttpEvent::MessageLost {
        exchange: 0,
        response: true,
        why: "gap",
        seen: 3,
        missed: 9,
    };
    give(lost, 20);
    let first = give(message(true, b"done"), 30).remove(0);
    assert_eq!(
        (first.response.state, first.response.missed_bytes),
        (BodyState::Gap, 9)
    );
    give(message(false, b"ask"), 40);
    let second = give(message(true, b"done"), 50).remove(0);
    assert_eq!(
        (second.response.state, second.response.missed_bytes),
        (BodyState::Complete, 0)
    );
}

#[test]
fn a_session_that_ends_inside_a_call_gives_it_as_aborted() {
    let mut exchanges = session();
    let mut give = |event, time_ns| exchanges.event(event, time_ns, &hasher());
    give(message(false, b"ask"), 10);
    let left = give(end(BodyState::Aborted), 20).remove(0);
    assert_eq!(
        (left.request.wire_bytes, left.response.state),
        (5, BodyState::Aborted)
    );
}

#[test]
fn a_close_with_an_error_is_the_error_of_the_call_that_was_open() {
    let mut exchanges = session();
    let mut give = |event, time_ns| exchanges.event(event, time_ns, &hasher());
    give(message(false, b"ask"), 10);
    let close = HttpEvent::CloseFrame {
        exchange: 0,
        response: true,
        code: Some(1011),
        reason: "out of memory",
    };
    give(close, 20);
    let left = give(end(BodyState::Complete), 20).remove(0);
    let error = left.call.error.unwrap();
    assert_eq!(error.kind, "websocket_close_1011");
    assert_eq!(error.message.as_deref(), Some("out of memory"));
}
