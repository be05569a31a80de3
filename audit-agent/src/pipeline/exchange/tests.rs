//! Exchanges whose heads are not known whole.

use super::*;
use crate::http::Headers;
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
        ..unseen()
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
