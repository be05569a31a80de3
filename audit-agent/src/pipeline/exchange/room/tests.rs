use super::super::finished::unseen;
use super::super::{Exchanges, Finished};
use crate::http::{BodyEnd, BodyState, Headers, HttpEvent, HttpVersion, RequestHead, ResponseHead};
use crate::limits;
use crate::record::hash::{Algorithm, Hasher};

struct Calls {
    exchanges: Exchanges,
    hasher: Hasher,
}

impl Calls {
    fn new() -> Self {
        Self {
            exchanges: Exchanges {
                keeps_text: true,
                ..Exchanges::default()
            },
            hasher: Hasher::new([9; 32].into(), Algorithm::Sha256),
        }
    }

    fn give(&mut self, event: HttpEvent<'_>) -> Vec<Finished> {
        let finished = self.exchanges.event(event, 1, &self.hasher);
        assert!(self.exchanges.held() <= limits::CONNECTION_HELD_BYTES);
        finished
    }

    fn begin(&mut self, exchange: u64) {
        let head = RequestHead {
            method: "POST".into(),
            target: "/v1/chat/completions".into(),
            version: HttpVersion::Http2,
            headers: Headers(vec![("content-type".into(), "application/json".into())]),
        };
        self.give(HttpEvent::RequestHead { exchange, head });
    }

    /// A request whose prompt has so many bytes, without its end.
    fn ask(&mut self, exchange: u64, bytes: usize) {
        self.begin(exchange);
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]"#,
            "x".repeat(bytes)
        );
        for data in body.as_bytes().chunks(64 * 1024) {
            self.give(HttpEvent::RequestBody { exchange, data });
        }
    }

    fn asked(&mut self, exchange: u64) {
        let data = b"}";
        self.give(HttpEvent::RequestBody { exchange, data });
        let end = BodyEnd {
            state: BodyState::Complete,
            ..unseen()
        };
        self.give(HttpEvent::RequestEnd { exchange, end });
    }

    fn answer(&mut self, exchange: u64, kind: &str, body: &str) -> Finished {
        let head = ResponseHead {
            status: 200,
            version: HttpVersion::Http2,
            headers: Headers(vec![("content-type".into(), kind.into())]),
        };
        self.give(HttpEvent::ResponseHead { exchange, head });
        for data in body.as_bytes().chunks(64 * 1024) {
            self.give(HttpEvent::ResponseBody { exchange, data });
        }
        let end = BodyEnd {
            state: BodyState::Complete,
            ..unseen()
        };
        self.give(HttpEvent::ResponseEnd { exchange, end }).remove(0)
    }
}

const SAID: &str = r#"{"choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
const JSON: &str = "application/json";

#[test]
fn many_bodies_at_once_stay_under_the_cap_and_those_that_were_cut_say_so() {
    let mut calls = Calls::new();
    let each = 3 * 1024 * 1024;
    let many = 2 * (limits::CONNECTION_HELD_BYTES / each) as u64;
    (0..many).for_each(|exchange| calls.ask(exchange, each));
    (0..many).for_each(|exchange| calls.asked(exchange));
    let ended: Vec<Finished> = (0..many)
        .map(|exchange| calls.answer(exchange, JSON, SAID))
        .collect();
    let cut = ended.iter().filter(|finished| finished.was_cut()).count();
    assert!(cut > 0 && (cut as u64) < many, "{cut} of {many}");
    for finished in &ended {
        let known = finished.prompt_hash.is_some();
        assert_eq!(known, !finished.was_cut());
        assert_eq!(
            finished.call.notes.contains(&"request_over_cap"),
            finished.was_cut()
        );
        // What is small is read of all of them.
        assert_eq!(finished.call.input_tokens, Some(3));
        assert_eq!(finished.call.choices[0].text, "yes");
    }
    assert_eq!(calls.exchanges.held(), 0);
}

#[test]
fn small_calls_are_not_cut_for_a_large_one() {
    let mut calls = Calls::new();
    calls.ask(0, 100);
    for exchange in 1..12 {
        calls.ask(exchange, 4 * 1024 * 1024 - 1024);
    }
    calls.asked(0);
    let small = calls.answer(0, JSON, SAID);
    assert!(!small.was_cut() && small.prompt_hash.is_some());
}

#[test]
fn a_prompt_that_is_given_up_after_it_was_asked_keeps_its_hash() {
    let mut calls = Calls::new();
    calls.exchanges.keeps_text = false;
    let each = 4 * 1024 * 1024 - 1024;
    for exchange in 0..9 {
        calls.ask(exchange, each);
        calls.asked(exchange);
    }
    let first = calls.answer(0, JSON, SAID);
    assert!(first.was_cut() && first.prompt_hash.is_some());
    assert!(first.call.notes.contains(&"prompt_over_cap"));
    assert_eq!(first.call.prompt_canonical, None);
}

#[test]
fn a_stream_that_lost_its_text_still_tells_its_end() {
    let mut calls = Calls::new();
    let text = "x".repeat(64 * 1024);
    let event = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n");
    let head = |exchange| HttpEvent::ResponseHead {
        exchange,
        head: ResponseHead {
            status: 200,
            version: HttpVersion::Http2,
            headers: Headers(vec![("content-type".into(), "text/event-stream".into())]),
        },
    };
    let streams = 12;
    for exchange in 0..streams {
        calls.ask(exchange, 1);
        calls.asked(exchange);
        calls.give(head(exchange));
    }
    for _ in 0..60 {
        for exchange in 0..streams {
            let data = event.as_bytes();
            calls.give(HttpEvent::ResponseBody { exchange, data });
        }
    }
    let last = b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":60}}\n\ndata: [DONE]\n\n";
    let mut cut = 0;
    for exchange in 0..streams {
        calls.give(HttpEvent::ResponseBody { exchange, data: last });
        let end = BodyEnd {
            state: BodyState::Complete,
            ..unseen()
        };
        let finished = calls.give(HttpEvent::ResponseEnd { exchange, end }).remove(0);
        let call = &finished.call;
        assert_eq!((call.output_tokens, &call.error), (Some(60), &None));
        assert_eq!(call.choices[0].finish_reason.as_deref(), Some("stop"));
        assert_eq!(call.completion_canonical.is_none(), finished.was_cut());
        cut += u64::from(finished.was_cut());
    }
    assert!(cut > 0 && cut < streams, "{cut}");
}
