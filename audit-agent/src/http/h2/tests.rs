mod grpc;
mod laws;
mod loss;

use super::hpack::indexing::Indexing;
use super::*;
use crate::http::tests::{Log, Seen, complete_bodies, run};
use crate::http::{Connection, Headers};
use crate::limits;
use BodyState::{Aborted, Complete, Gap, Malformed};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What one peer sends; its table lives as long as it does.
#[derive(Default)]
struct Peer(Indexing);

impl Peer {
    fn block(&mut self, fields: &[(&str, &str)]) -> Vec<u8> {
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        self.0.encode(fields)
    }

    fn headers(&mut self, stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
        let block = self.block(fields);
        frame(HEADERS, flags | END_HEADERS, stream, &block)
    }

    fn post(&mut self, stream: u32, path: &str, body: &[u8]) -> Vec<u8> {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
            ("content-type", "application/json"),
        ];
        let head = self.headers(stream, 0, &fields);
        [head, frame(DATA, END_STREAM, stream, body)].concat()
    }

    fn answer(&mut self, stream: u32, body: &[u8]) -> Vec<u8> {
        let head = self.headers(stream, 0, &[(":status", "200"), ("content-type", "text/plain")]);
        [head, frame(DATA, END_STREAM, stream, body)].concat()
    }
}

fn preface() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

fn settings() -> Vec<u8> {
    [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, 1, 0, &[])].concat()
}

/// Runs after both sides have said hello.
fn talk(steps: &[(bool, Vec<u8>)], close: bool) -> Vec<Seen> {
    let (hello, reply) = (preface(), settings());
    let mut all: Vec<(bool, &[u8])> = vec![(false, &hello), (true, &reply)];
    all.extend(
        steps
            .iter()
            .map(|(response, bytes)| (*response, bytes.as_slice())),
    );
    run(&all, close)
}

fn ends(seen: &[Seen]) -> Vec<(u64, BodyState)> {
    let end = |seen: &Seen| match seen {
        Seen::ResponseEnd(exchange, state) => Some((*exchange, *state)),
        _ => None,
    };
    seen.iter().filter_map(end).collect()
}

fn bodies(seen: &[Seen]) -> Vec<(u64, bool, Vec<u8>)> {
    complete_bodies(seen)
}

fn body(exchange: u64, response: bool, body: &[u8]) -> (u64, bool, Vec<u8>) {
    (exchange, response, body.to_vec())
}

#[test]
fn gives_the_events_that_http1_gives() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = [
        (false, client.post(1, "/completion", b"ask")),
        (true, server.answer(1, b"said")),
    ];
    assert_eq!(
        talk(&steps, true),
        [
            Seen::Request(0, "/completion".into()),
            Seen::RequestBody(0, b"ask".to_vec()),
            Seen::RequestEnd(0, Complete),
            Seen::Response(0, 200),
            Seen::ResponseBody(0, b"said".to_vec()),
            Seen::ResponseEnd(0, Complete),
        ]
    );
}

#[test]
fn pairs_interleaved_streams_by_their_numbers() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let open = |peer: &mut Peer, stream| peer.headers(stream, 0, &[(":status", "200")]);
    let steps = [
        (false, client.post(1, "/a", b"1")),
        (false, client.post(3, "/b", b"3")),
        (true, open(&mut server, 3)),
        (true, open(&mut server, 1)),
        (true, frame(DATA, 0, 1, b"one ")),
        (true, frame(DATA, 0, 3, b"three ")),
        (true, frame(DATA, END_STREAM, 1, b"uno")),
        (true, frame(DATA, END_STREAM, 3, b"tres")),
    ];
    let seen = talk(&steps, false);
    assert_eq!(ends(&seen), [(0, Complete), (1, Complete)]);
    let answers: Vec<_> = bodies(&seen)
        .into_iter()
        .filter(|(_, response, _)| *response)
        .collect();
    assert_eq!(answers, [body(0, true, b"one uno"), body(1, true, b"three tres")]);
}

#[test]
fn padding_priority_and_continuations_are_no_content() {
    let mut client = Peer::default();
    let block = client.block(&[(":method", "POST"), (":path", "/padded"), ("x-long", "value")]);
    let (first, rest) = block.split_at(4);
    let (second, third) = rest.split_at(3);
    let mut payload = vec![2, 0, 0, 0, 0, 16];
    payload.extend(first);
    payload.extend([0, 0]);
    let mut data = vec![5];
    data.extend(b"ask\0\0\0\0\0");
    let steps = [
        (false, frame(HEADERS, PADDED | PRIORITY, 1, &payload)),
        (false, frame(CONTINUATION, 0, 1, second)),
        (false, frame(CONTINUATION, END_HEADERS, 1, third)),
        (false, frame(DATA, PADDED, 1, &data)),
        (false, frame(DATA, END_STREAM | PADDED, 1, &[2, 0, 0])),
    ];
    let seen = talk(&steps, false);
    assert_eq!(seen[0], Seen::Request(0, "/padded".into()));
    assert_eq!(bodies(&seen), [body(0, false, b"ask")]);
}

#[test]
fn passes_by_interim_responses_and_gives_trailers() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = [
        (false, client.post(1, "/svc/Method", b"ask")),
        (true, server.headers(1, 0, &[(":status", "103"), ("link", "x")])),
        (true, server.headers(1, 0, &[(":status", "200")])),
        (true, frame(DATA, 0, 1, b"said")),
        (true, server.headers(1, END_STREAM, &[("grpc-status", "0")])),
    ];
    let seen = talk(&steps, false);
    let trailers = Headers(vec![("grpc-status".into(), "0".into())]);
    assert_eq!(
        seen[3..],
        [
            Seen::Response(0, 200),
            Seen::ResponseBody(0, b"said".to_vec()),
            Seen::Trailers(0, trailers),
            Seen::ResponseEnd(0, Complete),
        ]
    );
}

#[test]
fn a_reset_stream_is_aborted_and_others_go_on() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = [
        (false, client.post(1, "/a", b"1")),
        (false, client.post(3, "/b", b"3")),
        (true, server.headers(1, 0, &[(":status", "200")])),
        (false, frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        (true, frame(DATA, END_STREAM, 1, b"too late")),
        (true, server.answer(3, b"said")),
    ];
    assert_eq!(ends(&talk(&steps, false)), [(0, Aborted), (1, Complete)]);
}

#[test]
fn an_answer_as_long_as_it_says_is_whole_though_its_end_is_not_seen() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = |length: &str, server: &mut Peer, client: &mut Peer| {
        let fields = [(":status", "200"), ("content-length", length)];
        [
            (false, client.post(1, "/a", b"1")),
            (true, server.headers(1, 0, &fields)),
            (true, frame(DATA, 0, 1, b"said")),
        ]
    };
    let whole = steps("4", &mut server, &mut client);
    assert_eq!(ends(&talk(&whole, true)), [(0, Complete)]);
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let cut = steps("5", &mut server, &mut client);
    assert_eq!(ends(&talk(&cut, true)), [(0, Aborted)]);
}

#[test]
fn goaway_ends_the_streams_that_are_not_answered_any_more() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = [
        (false, client.post(1, "/a", b"1")),
        (false, client.post(3, "/b", b"3")),
        (true, frame(GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])),
        (true, server.answer(1, b"said")),
    ];
    assert_eq!(ends(&talk(&steps, false)), [(1, Aborted), (0, Complete)]);
}

#[test]
fn a_body_that_contradicts_its_length_is_malformed() {
    for said in ["3", "5"] {
        let (mut client, mut server) = (Peer::default(), Peer::default());
        let steps = [
            (false, client.post(1, "/a", b"1")),
            (
                true,
                server.headers(1, 0, &[(":status", "200"), ("content-length", said)]),
            ),
            (true, frame(DATA, END_STREAM, 1, b"four")),
        ];
        let ends = ends(&talk(&steps, false));
        assert!(matches!(ends[..], [(0, Malformed(_))]), "{said}: {ends:?}");
    }
}

#[test]
fn heads_without_bodies_may_say_a_length() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let steps = [
        (
            false,
            client.headers(1, END_STREAM, &[(":method", "HEAD"), (":path", "/")]),
        ),
        (
            true,
            server.headers(1, END_STREAM, &[(":status", "200"), ("content-length", "9")]),
        ),
    ];
    assert_eq!(ends(&talk(&steps, false)), [(0, Complete)]);
}

#[test]
fn promised_requests_count_for_the_table_and_nothing_else() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut promise = vec![0, 0, 0, 2];
    promise.extend(server.block(&[(":method", "GET"), (":path", "/pushed"), ("x-new", "1")]));
    let steps = [
        (false, client.post(1, "/a", b"1")),
        (true, frame(PUSH_PROMISE, END_HEADERS, 1, &promise)),
        (true, server.headers(2, 0, &[(":status", "200"), ("x-new", "1")])),
        (true, frame(DATA, END_STREAM, 2, b"pushed")),
        (true, server.answer(1, b"said")),
    ];
    let seen = talk(&steps, false);
    assert_eq!(bodies(&seen), [body(0, false, b"1"), body(0, true, b"said")]);
    assert!(!seen.contains(&Seen::HeadPartial(0)));
}

#[test]
fn a_server_may_speak_first() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let hello = [preface(), client.post(1, "/a", b"1")].concat();
    let (settings, answer) = (settings(), server.answer(1, b"said"));
    let seen = run(
        &[
            (true, &settings[..5]),
            (true, &settings[5..]),
            (false, &hello),
            (true, &answer),
        ],
        true,
    );
    assert_eq!(ends(&seen), [(0, Complete)]);
}

#[test]
fn an_upgraded_request_is_answered_on_the_first_stream() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let ask = b"POST /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\
        Connection: Upgrade, HTTP2-Settings\r\nContent-Length: 1\r\n\r\n1";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let first = [&switch[..], &settings(), &server.answer(1, b"one")].concat();
    let more = [preface(), client.post(3, "/b", b"3")].concat();
    let second = server.answer(3, b"three");
    let seen = run(
        &[(false, ask), (true, &first), (false, &more), (true, &second)],
        true,
    );
    assert_eq!(
        bodies(&seen),
        [
            body(0, false, b"1"),
            body(0, true, b"one"),
            body(1, false, b"3"),
            body(1, true, b"three")
        ]
    );
    assert_eq!(seen[3], Seen::Response(0, 200));
}

#[test]
fn a_flood_of_continuations_is_held_up_to_its_cap() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    connection.push(false, Chunk::Data(&preface()), &mut |event| log.add(event));
    connection.push(
        false,
        Chunk::Data(&frame(HEADERS, 0, 1, &client.block(&[(":path", "/a")]))),
        &mut |event| log.add(event),
    );
    let part = frame(CONTINUATION, 0, 1, &[0; 16_000]);
    for _ in 0..100 {
        connection.push(false, Chunk::Data(&part), &mut |event| log.add(event));
        assert!(connection.buffered_bytes() <= limits::HTTP_HEAD_BYTES + 16_000);
    }
    connection.push(
        false,
        Chunk::Data(&frame(CONTINUATION, END_HEADERS, 1, b"")),
        &mut |event| log.add(event),
    );
    assert_eq!(ends(&log.0), [(0, Malformed("head is over its cap"))]);
    connection.push(false, Chunk::Data(&client.post(3, "/b", b"3")), &mut |event| {
        log.add(event)
    });
    connection.push(true, Chunk::Data(&server.answer(3, b"said")), &mut |event| {
        log.add(event)
    });
    assert_eq!(ends(&log.0)[1..], [(1, Complete)]);
}

#[test]
fn a_flood_of_streams_ends_the_oldest() {
    let mut client = Peer::default();
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    connection.push(false, Chunk::Data(&preface()), &mut |event| log.add(event));
    for stream in 0..limits::H2_STREAMS as u32 + 3 {
        let ask = client.post(2 * stream + 1, "/a", b"");
        connection.push(false, Chunk::Data(&ask), &mut |event| log.add(event));
    }
    assert_eq!(ends(&log.0), [(0, Gap), (1, Gap), (2, Gap)]);
}
