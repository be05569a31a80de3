mod ends;
mod joined;
pub(super) mod laws;

use super::*;

/// What a test compares: body pieces are joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    Request(u64, String),
    RequestBody(u64, Vec<u8>),
    RequestEnd(u64, BodyState),
    Response(u64, u16),
    ResponseBody(u64, Vec<u8>),
    ResponseEnd(u64, BodyState),
    Trailers(u64, Headers),
    HeadPartial(u64),
    Upgraded(String),
    HeadLost(String),
    Unasked,
    NotHttp,
}

#[derive(Default)]
pub(super) struct Log(pub Vec<Seen>);

impl Log {
    pub fn add(&mut self, event: HttpEvent<'_>) {
        let seen = match event {
            HttpEvent::RequestHead { exchange, head } => Seen::Request(exchange, head.target),
            HttpEvent::RequestBody { exchange, data } => match self.0.last_mut() {
                Some(Seen::RequestBody(of, body)) if *of == exchange => return body.extend_from_slice(data),
                _ => Seen::RequestBody(exchange, data.to_vec()),
            },
            HttpEvent::RequestEnd { exchange, end } => Seen::RequestEnd(exchange, end.state),
            HttpEvent::ResponseHead { exchange, head } => Seen::Response(exchange, head.status),
            HttpEvent::ResponseBody { exchange, data } => match self.0.last_mut() {
                Some(Seen::ResponseBody(of, body)) if *of == exchange => return body.extend_from_slice(data),
                _ => Seen::ResponseBody(exchange, data.to_vec()),
            },
            HttpEvent::ResponseEnd { exchange, end } => Seen::ResponseEnd(exchange, end.state),
            HttpEvent::Upgraded { protocol, .. } => Seen::Upgraded(protocol),
            HttpEvent::Skipped { .. }
            | HttpEvent::Message { .. }
            | HttpEvent::MessageLost { .. }
            | HttpEvent::CloseFrame { .. } => return,
            HttpEvent::Trailers { exchange, fields } => Seen::Trailers(exchange, fields),
            HttpEvent::HeadPartial { exchange } => Seen::HeadPartial(exchange),
            HttpEvent::HeadLost { head } => Seen::HeadLost(head.target),
            HttpEvent::Unasked => Seen::Unasked,
            HttpEvent::NotHttp => Seen::NotHttp,
        };
        self.0.push(seen);
    }
}

/// Steps of a conversation: `(response, bytes)`.
pub(super) fn run(steps: &[(bool, &[u8])], close: bool) -> Vec<Seen> {
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    for (response, bytes) in steps {
        connection.push(*response, Chunk::Data(bytes), &mut |event| log.add(event));
    }
    if close {
        connection.close(&mut |event| log.add(event));
    }
    log.0
}

const POST: &[u8] = b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd";
const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\ndata: \r\n3\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n";
use BodyState::{Aborted, Complete, Gap};

/// What servers pass by or refuse before they go on reading: a request behind it is one all the same.
/// Bodies of complete responses and requests by exchange.
pub(super) fn complete_bodies(seen: &[Seen]) -> Vec<(u64, bool, Vec<u8>)> {
    let body_of = |exchange: u64, response: bool| {
        let bytes = seen.iter().filter_map(move |seen| match seen {
            Seen::RequestBody(e, body) if *e == exchange && !response => Some(body.clone()),
            Seen::ResponseBody(e, body) if *e == exchange && response => Some(body.clone()),
            _ => None,
        });
        bytes.flatten().collect::<Vec<u8>>()
    };
    let ends = seen.iter().filter_map(|seen| match seen {
        Seen::RequestEnd(exchange, Complete) => Some((*exchange, false, body_of(*exchange, false))),
        Seen::ResponseEnd(exchange, Complete) => Some((*exchange, true, body_of(*exchange, true))),
        _ => None,
    });
    ends.collect()
}

#[test]
fn nothing_in_front_hides_a_request() {
    for front in [
        &b"\r\n"[..],
        b" ",
        b"\n \t\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 what\r\n",
        b"PRI /x HTTP/1.1\r\n\r\n",
        b"{}\n",
    ] {
        let whole = [front, POST].concat();
        for cut in 0..whole.len() {
            let (first, second) = whole.split_at(cut);
            let seen = run(&[(false, first), (false, second), (true, PLAIN)], true);
            let asked = Seen::Request(0, "/completion".into());
            let later = Seen::Request(1, "/completion".into());
            assert!(
                seen.contains(&asked) || seen.contains(&later),
                "{front:?} {cut} {seen:?}"
            );
        }
    }
}

#[test]
fn a_search_that_was_long_in_vain_misses_no_request_that_it_was_in() {
    let passed = [vec![b'x'; 64 * 1024], b"\n".to_vec()].concat();
    for cut in 0..POST.len() {
        let (first, second) = POST.split_at(cut);
        let mut connection = Connection::new(true);
        let mut log = Log::default();
        for piece in [&[&passed, first].concat(), second] {
            connection.push(false, Chunk::Data(piece), &mut |event| log.add(event));
        }
        let asked = Seen::Request(0, "/completion".into());
        assert!(log.0.contains(&asked), "{cut} {:?}", log.0);
    }
}

/// An answer of 101 that is no upgrade to anything known: whoever goes on in the clear behind it is not unseen.
#[test]
fn bytes_of_an_unknown_protocol_are_counted() {
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n";
    let mut connection = Connection::new(false);
    let mut counted = [0; 2];
    let (begun, rest) = POST.split_at(10);
    let asked = [POST, begun].concat();
    for (response, bytes) in [(false, &*asked), (true, SWITCH), (false, rest), (true, PLAIN)] {
        connection.push(response, Chunk::Data(bytes), &mut |event| {
            if let HttpEvent::Skipped { response, seen, .. } = event {
                counted[usize::from(response)] += seen;
            }
        });
    }
    assert_eq!(counted, [POST.len() as u64, PLAIN.len() as u64]);
}

#[test]
fn a_request_line_is_told_where_the_rest_of_its_head_is_lost() {
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    for chunk in [Chunk::Data(&POST[..40]), Chunk::Gap(9)] {
        connection.push(false, chunk, &mut |event| log.add(event));
    }
    assert_eq!(log.0, [Seen::HeadLost("/completion".into())]);
}

#[test]
fn pairs_keep_alive_exchanges() {
    let seen = run(
        &[
            (false, POST),
            (true, PLAIN),
            (false, b"GET /b HTTP/1.1\r\n\r\n"),
            (true, CHUNKED),
        ],
        false,
    );
    assert_eq!(
        seen,
        [
            Seen::Request(0, "/completion".into()),
            Seen::RequestBody(0, b"abcd".to_vec()),
            Seen::RequestEnd(0, Complete),
            Seen::Response(0, 200),
            Seen::ResponseBody(0, b"ok".to_vec()),
            Seen::ResponseEnd(0, Complete),
            Seen::Request(1, "/b".into()),
            Seen::RequestEnd(1, Complete),
            Seen::Response(1, 200),
            Seen::ResponseBody(1, b"data: abc".to_vec()),
            Seen::ResponseEnd(1, Complete),
        ]
    );
}

#[test]
fn pairs_pipelined_requests_in_order() {
    let two = [POST, b"GET /b HTTP/1.1\r\n\r\n"].concat();
    let answers = [PLAIN, CHUNKED].concat();
    let seen = run(&[(false, &two), (true, &answers)], true);
    let ends: Vec<_> = seen
        .iter()
        .filter(|seen| matches!(seen, Seen::ResponseEnd(..)))
        .collect();
    assert_eq!(
        ends,
        [&Seen::ResponseEnd(0, Complete), &Seen::ResponseEnd(1, Complete)]
    );
}

#[test]
fn passes_by_interim_responses() {
    let answer = [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], PLAIN].concat();
    let seen = run(&[(false, POST), (true, &answer)], false);
    assert_eq!(seen.last(), Some(&Seen::ResponseEnd(0, Complete)));
    assert_eq!(
        seen.iter()
            .filter(|seen| matches!(seen, Seen::Response(..)))
            .count(),
        1
    );
}

#[test]
fn a_request_that_was_answered_before_its_end_ends_with_the_connection_as_aborted() {
    let head = b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let seen = run(
        &[
            (false, head),
            (true, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"),
        ],
        true,
    );
    assert_eq!(
        seen[1..],
        [
            Seen::Response(0, 401),
            Seen::ResponseEnd(0, Complete),
            Seen::RequestEnd(0, Aborted)
        ]
    );
}

#[test]
fn head_requests_have_no_response_body() {
    let steps: &[(bool, &[u8])] = &[
        (false, b"HEAD / HTTP/1.1\r\n\r\n"),
        (true, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
        (false, POST),
        (true, PLAIN),
    ];
    assert_eq!(run(steps, false).last(), Some(&Seen::ResponseEnd(1, Complete)));
}

#[test]
fn a_body_without_length_ends_with_the_connection() {
    let seen = run(
        &[
            (false, b"GET / HTTP/1.0\r\n\r\n"),
            (true, b"HTTP/1.0 200 OK\r\n\r\nall of it"),
        ],
        true,
    );
    assert_eq!(
        seen[3..],
        [
            Seen::ResponseBody(0, b"all of it".to_vec()),
            Seen::ResponseEnd(0, Complete)
        ]
    );
}

#[test]
fn a_closed_connection_aborts_what_is_open() {
    let seen = run(
        &[
            (false, POST),
            (true, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        ],
        true,
    );
    assert_eq!(seen.last(), Some(&Seen::ResponseEnd(0, Aborted)));
    let seen = run(&[(false, POST)], true);
    assert_eq!(seen.last(), Some(&Seen::ResponseEnd(0, Aborted)));
}

#[test]
fn hands_over_an_upgraded_connection() {
    let steps: &[(bool, &[u8])] = &[
        (
            false,
            b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        ),
        (
            true,
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x02hi",
        ),
        (false, b"\x81\x82abcdef"),
    ];
    let seen = run(steps, true);
    assert!(seen.contains(&Seen::Upgraded("websocket".into())));
    assert_eq!(seen.last(), Some(&Seen::ResponseEnd(0, Aborted)));
}

#[test]
fn text_that_looks_like_http_inside_a_body_is_body() {
    let body = b"\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx\nPOST / HTTP/1.1\r\n\r\n";
    let answer = [
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
        body,
    ]
    .concat();
    let seen = run(
        &[(false, POST), (true, &answer), (false, POST), (true, PLAIN)],
        false,
    );
    assert_eq!(
        seen.iter()
            .filter(|seen| matches!(seen, Seen::ResponseEnd(_, Complete)))
            .count(),
        2
    );
}

#[test]
fn other_protocols_are_told_at_once() {
    for first in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"SSH-2.0-x\r\n",
        b"PRI * HTTP/2.0\r\n\r\nno",
    ] {
        assert_eq!(run(&[(false, first)], true), [Seen::NotHttp]);
    }
    assert_eq!(run(&[(true, b"220 mail ready\r\n")], true), [Seen::NotHttp]);
}
