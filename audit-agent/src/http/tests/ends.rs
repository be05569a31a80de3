//! Every exchange that begins ends once, whatever the connection turns out to be or becomes.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ASKS_H2C: &[u8] = b"POST /v1/chat HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
    HTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nab";
const ASKS_WEBSOCKET: &[u8] =
    b"GET /v1/realtime HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const H2C: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
const WEBSOCKET: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame of DATA that has 12288 bytes, as far as it has come.
const FRAME_BEGINS: &[u8] = b"\0\x30\0\0\0\0\0\x10\x01";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0pingpong";
const BAD_PING: &[u8] = b"\0\0\x07\x06\0\0\0\0\0pingpon";
/// HEADERS of stream 1 and 3: `:method: GET`, `:scheme: http`, `:path: /`.
const ASKS_1: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";
const ASKS_3: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x03\x82\x86\x84";
/// `:status: 204` on stream 1.
const ANSWERS_1: &[u8] = b"\0\0\x01\x01\x05\0\0\0\x01\x89";

/// Ends of the request and of the response of each exchange; a number is used once.
fn ends(joined: bool, steps: &[(bool, Chunk<'_>)]) -> BTreeMap<u64, (u32, u32)> {
    let mut ends: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    let mut add = |event: HttpEvent<'_>| match event {
        HttpEvent::RequestHead { exchange, .. } => {
            assert!(
                ends.insert(exchange, (0, 0)).is_none(),
                "{exchange} has begun before"
            );
        }
        HttpEvent::RequestEnd { exchange, .. } => ends.get_mut(&exchange).unwrap().0 += 1,
        HttpEvent::ResponseEnd { exchange, .. } => ends.get_mut(&exchange).unwrap().1 += 1,
        _ => {}
    };
    let mut connection = Connection::new(joined);
    for (response, chunk) in steps {
        connection.push(*response, *chunk, &mut add);
    }
    connection.close(&mut add);
    assert!(!connection.pending());
    ends
}

fn data<'a>(steps: &[(bool, &'a [u8])]) -> Vec<(bool, Chunk<'a>)> {
    steps
        .iter()
        .map(|(response, bytes)| (*response, Chunk::Data(bytes)))
        .collect()
}

#[test]
fn nothing_is_read_behind_what_no_client_of_http2_sends_first() {
    let rest = [PING, ASKS_1].concat();
    let torn = [PREFACE, BAD_PING, &rest].concat();
    assert_eq!(run(&[(false, &torn)], true), [Seen::NotHttp]);
    assert_eq!(
        run(&[(false, PREFACE), (false, BAD_PING), (false, &rest)], true),
        [Seen::NotHttp]
    );
}

#[test]
fn a_request_that_was_found_makes_the_connection_http1_whatever_its_body_looks_like() {
    let post = [
        b"POST /v1/audio HTTP/1.1\r\nContent-Length: 29\r\n\r\n",
        PING,
        ASKS_1,
    ]
    .concat();
    let steps = [(false, post.as_slice()), (true, PLAIN)];
    let mut connection = Connection::new(true);
    let mut log = Log::default();
    for (response, bytes) in steps {
        connection.push(response, Chunk::Data(bytes), &mut |event| log.add(event));
    }
    assert_eq!(
        log.0,
        [
            Seen::Request(0, "/v1/audio".into()),
            Seen::RequestBody(0, [PING, ASKS_1].concat()),
            Seen::RequestEnd(0, Complete),
            Seen::Response(0, 200),
            Seen::ResponseBody(0, b"ok".to_vec()),
            Seen::ResponseEnd(0, Complete),
        ]
    );
}

#[test]
fn bytes_before_the_first_request_that_may_be_a_frame_do_not_hide_its_answer() {
    let steps = data(&[
        (true, FRAME_BEGINS),
        (false, GET),
        (true, PLAIN),
        (false, GET),
        (true, PLAIN),
    ]);
    assert_eq!(ends(true, &steps), BTreeMap::from([(0, (1, 1)), (1, (1, 1))]));
    let mut connection = Connection::new(true);
    let (mut passed, mut answered) = (0, 0);
    for (response, chunk) in steps {
        connection.push(response, chunk, &mut |event| match event {
            HttpEvent::Skipped { seen, .. } => passed += seen,
            HttpEvent::ResponseHead { .. } => answered += 1,
            _ => {}
        });
    }
    assert_eq!((passed, answered), (FRAME_BEGINS.len() as u64, 2));
}

#[test]
fn an_upgrade_among_bytes_that_were_held_back_ends_with_the_connection() {
    for (asks, answer) in [(ASKS_WEBSOCKET, WEBSOCKET), (ASKS_H2C, H2C)] {
        let client = [FRAME_BEGINS, b"\r\n", asks].concat();
        let server = [FRAME_BEGINS, b"\r\n", answer].concat();
        let steps = data(&[(false, &client), (true, &server)]);
        assert_eq!(ends(true, &steps), BTreeMap::from([(0, (1, 1))]));
    }
}

#[test]
fn what_was_passed_by_before_frames_were_found_is_told() {
    let mut connection = Connection::new(true);
    let mut passed = 0;
    let client = [b"no line end", PING, ASKS_1].concat();
    connection.push(false, Chunk::Data(&client), &mut |event| {
        if let HttpEvent::Skipped { seen, .. } = event {
            passed += seen;
        }
    });
    assert_eq!(passed, 11);
}

#[test]
fn streams_of_an_upgraded_connection_have_numbers_that_were_not_used() {
    let pipelined = [ASKS_H2C, b"cd", GET].concat();
    let steps = data(&[
        (false, &pipelined),
        (true, H2C),
        (false, PREFACE),
        (false, ASKS_3),
        (true, ANSWERS_1),
    ]);
    assert_eq!(
        ends(false, &steps),
        BTreeMap::from([(0, (1, 1)), (1, (1, 1)), (2, (1, 1))])
    );
}

/// What the pieces of a connection may be.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        GET,
        POST,
        ASKS_H2C,
        ASKS_WEBSOCKET,
        b"CONNECT a:443 HTTP/1.1\r\n\r\n",
        PLAIN,
        CHUNKED,
        H2C,
        WEBSOCKET,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        PREFACE,
        FRAME_BEGINS,
        PING,
        BAD_PING,
        b"\0\0\0\x04\0\0\0\0\0",
        ASKS_1,
        ASKS_3,
        ANSWERS_1,
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\x81\x02hi",
        b"\x88\x00",
        b"\r\n",
    ];
    let known = proptest::sample::select(known.map(<[u8]>::to_vec).to_vec());
    let torn = (known.clone(), 1usize..40).prop_map(|(mut bytes, keep)| {
        bytes.truncate(keep);
        bytes
    });
    // Several in one piece are read before anybody asks what the connection is.
    proptest::collection::vec(
        prop_oneof![8 => known, 1 => torn, 1 => proptest::collection::vec(any::<u8>(), 0..20)],
        1..5,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_comes_every_exchange_that_begins_ends_once(
        joined in any::<bool>(),
        steps in proptest::collection::vec((any::<bool>(), piece(), 0u8..12), 0..12),
    ) {
        let mut chunks = Vec::new();
        for (response, bytes, then) in &steps {
            chunks.push((*response, Chunk::Data(bytes)));
            match then {
                0 => chunks.push((*response, Chunk::Gap(7))),
                1 => chunks.push((*response, Chunk::Eof)),
                _ => {}
            }
        }
        for (exchange, ended) in ends(joined, &chunks) {
            prop_assert_eq!(ended, (1, 1), "exchange {}", exchange);
        }
    }
}
