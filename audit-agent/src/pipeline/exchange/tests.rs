//! Exchanges whose heads are not known whole.

use super::*;
use crate::http::Headers;
use crate::http::{HttpVersion, ResponseHead};
use crate::record::hash::Algorithm;

fn hasher() -> Hasher {
    Hasher::new([9; 32].into(), Algorithm::Sha256)
}

fn request(target: &str) -> HttpEvent<'static> {
    HttpEvent::RequestHead {
        exchange: 0,
        head: RequestHead {
            method: "POST".into(),
            target: target.into(),
            version: HttpVersion::Http2,
            headers: Headers::default(),
        },
    }
}

fn end(wire_bytes: u64) -> BodyEnd {
    BodyEnd {
        state: BodyState::Complete,
        wire_bytes,
        ..finished::unseen()
    }
}

#[test]
fn an_exchange_whose_path_is_not_known_is_said_to_be_in_no_record() {
    let mut exchanges = Exchanges::default();
    let mut give = |event| exchanges.event(event, 1, &hasher()).len();
    give(request(""));
    give(HttpEvent::HeadPartial { exchange: 0 });
    give(HttpEvent::RequestEnd {
        exchange: 0,
        end: end(30),
    });
    let records = give(HttpEvent::ResponseEnd {
        exchange: 0,
        end: end(12),
    });
    assert_eq!((records, exchanges.skipped_seen), (0, 42));
}

#[test]
fn the_body_tells_a_stream_of_events_where_the_head_cannot() {
    let text = b"data: {\"choices\":[{\"delta\":{\"content\":\"yes\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for cut in [1, text.len()] {
        let mut exchanges = Exchanges::default();
        let mut give = |event| exchanges.event(event, 1, &hasher());
        give(request("/v1/chat/completions"));
        give(HttpEvent::RequestEnd {
            exchange: 0,
            end: end(0),
        });
        give(HttpEvent::HeadPartial { exchange: 0 });
        let head = ResponseHead {
            status: 200,
            version: HttpVersion::Http2,
            headers: Headers::default(),
        };
        give(HttpEvent::ResponseHead { exchange: 0, head });
        for data in text.chunks(cut) {
            give(HttpEvent::ResponseBody { exchange: 0, data });
        }
        let call = give(HttpEvent::ResponseEnd {
            exchange: 0,
            end: end(0),
        })
        .remove(0)
        .call;
        assert_eq!((call.stream, call.choices[0].text.as_str()), (Some(true), "yes"));
    }
}

/// What is kept of a request with this type and body, over one exchange.
fn part(keeps_text: bool, kind: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut exchanges = Exchanges::new(keeps_text);
    let mut give = |event| exchanges.event(event, 1, &hasher());
    let head = RequestHead {
        method: "POST".into(),
        target: "/v1/chat/completions".into(),
        version: HttpVersion::Http11,
        headers: Headers(vec![("content-type".into(), kind.into())]),
    };
    give(HttpEvent::RequestHead { exchange: 0, head });
    for data in body.chunks(1000) {
        give(HttpEvent::RequestBody { exchange: 0, data });
    }
    give(HttpEvent::RequestEnd {
        exchange: 0,
        end: end(9),
    });
    let finished = give(HttpEvent::ResponseEnd {
        exchange: 0,
        end: end(9),
    });
    finished
        .into_iter()
        .next()
        .and_then(|finished| finished.request_part)
}

#[test]
fn a_body_in_which_no_prompt_is_read_is_kept_where_text_is_stored() {
    let (json, broken) = (
        "application/json",
        &br#"{"messages":[{"role":"user","content":"se"#[..],
    );
    assert_eq!(part(true, json, broken).as_deref(), Some(broken));
    assert_eq!(part(false, json, broken), None, "no text is stored");
    assert_eq!(
        part(true, json, br#"{"messages":[]}"#),
        None,
        "its prompt is known"
    );
    assert_eq!(part(true, "audio/wav", broken), None, "it is no text");
    assert_eq!(part(true, json, b""), None);
}

#[test]
fn what_is_kept_of_a_body_has_a_cap() {
    let body = vec![b'x'; limits::BODY_BYTES + 10_000];
    let kept = part(true, "application/json", &body).unwrap();
    assert_eq!(kept.len(), limits::BODY_BYTES);
}
