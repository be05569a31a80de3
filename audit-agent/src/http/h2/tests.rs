mod grpc;

use super::hpack::indexing::Indexing;
use super::*;
use crate::http::tests::{Log, Seen, complete_bodies, run};
use crate::http::{Connection, Headers};
use crate::limits;
use BodyState::{Aborted, Complete, Gap, Malformed};
use proptest::prelude::*;

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

/// Feeds a connection that was joined after `before` was sent.
fn join(steps: &[(bool, Vec<u8>)]) -> Vec<Seen> {
    let mut connection = Connection::new(true);
    let mut log = Log::default();
    for (response, bytes) in steps {
        connection.push(*response, Chunk::Data(bytes), &mut |event| log.add(event));
    }
    connection.close(&mut |event| log.add(event));
    log.0
}

#[test]
fn a_joined_connection_gives_bodies_and_says_that_its_heads_are_partial() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let _ = (client.post(1, "/a", b"1"), server.answer(1, b"said"));
    let steps = [
        (false, client.post(3, "/a", b"ask")),
        (true, server.answer(3, b"said")),
        (false, client.post(5, "/new", b"more")),
        (true, server.answer(5, b"told")),
    ];
    let seen = join(&steps);
    assert_eq!(
        bodies(&seen),
        [
            body(0, false, b"ask"),
            body(0, true, b"said"),
            body(1, false, b"more"),
            body(1, true, b"told")
        ]
    );
    assert_eq!(seen[..2], [Seen::Request(0, String::new()), Seen::HeadPartial(0)]);
    assert!(seen.contains(&Seen::Request(1, "/new".into())), "{seen:?}");
}

#[test]
fn a_connection_joined_inside_a_frame_starts_at_the_next() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let cut = client.post(1, "/a", &[b'x'; 300])[40..].to_vec();
    let steps = [
        (false, cut),
        (true, server.answer(1, b"said")),
        (false, client.post(3, "/b", b"ask")),
        (true, server.answer(3, b"told")),
    ];
    let seen = join(&steps);
    assert_eq!(bodies(&seen), [body(0, false, b"ask"), body(0, true, b"told")]);
}

/// One exchange with a loss in its response; then another.
fn with_loss(response: &[u8], from: usize, to: usize, then: &mut Peer) -> Vec<Seen> {
    let mut client = Peer::default();
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    let mut add = |event: HttpEvent<'_>| log.add(event);
    connection.push(false, Chunk::Data(&preface()), &mut add);
    connection.push(true, Chunk::Data(&settings()), &mut add);
    connection.push(false, Chunk::Data(&client.post(1, "/a", b"1")), &mut add);
    connection.push(true, Chunk::Data(&response[..from]), &mut add);
    connection.push(true, Chunk::Gap((to - from) as u64), &mut add);
    connection.push(true, Chunk::Data(&response[to..]), &mut add);
    connection.push(false, Chunk::Data(&client.post(3, "/b", b"3")), &mut add);
    connection.push(true, Chunk::Data(&then.answer(3, b"next")), &mut add);
    connection.close(&mut add);
    log.0
}

#[test]
fn bytes_missing_inside_data_cost_that_message_alone() {
    let mut server = Peer::default();
    let answer = server.answer(1, b"a long answer");
    let seen = with_loss(&answer, answer.len() - 9, answer.len(), &mut server);
    assert_eq!(ends(&seen), [(0, Gap), (1, Complete)]);
    assert!(!seen.contains(&Seen::HeadPartial(1)));
}

#[test]
fn bytes_missing_between_frames_cost_the_table_too() {
    let mut server = Peer::default();
    let head = server.headers(1, 0, &[(":status", "200"), ("content-type", "text/plain")]);
    let answer = [
        head,
        frame(DATA, 0, 1, b"one"),
        frame(DATA, 0, 1, b"two"),
        frame(DATA, 0, 1, b"three"),
    ]
    .concat();
    let end = frame(DATA, END_STREAM, 1, b"four");
    // The head of "two" is missing, and the search finds "three".
    let at = answer.len() - 2 * 9 - 8;
    let seen = with_loss(&[answer, end].concat(), at, at + 4, &mut server);
    assert_eq!(ends(&seen), [(0, Gap), (1, Complete)]);
    assert!(
        seen.contains(&Seen::HeadPartial(1)),
        "the content type was in the table"
    );
    assert!(
        seen.contains(&Seen::ResponseBody(0, b"onethreefour".to_vec())),
        "{seen:?}"
    );
}

#[test]
fn a_head_with_a_hole_leaves_an_exchange_that_is_a_gap() {
    let mut server = Peer::default();
    let answer = server.answer(1, b"said");
    let seen = with_loss(&answer, 10, 12, &mut server);
    assert_eq!(ends(&seen), [(0, Gap), (1, Complete)]);
}

#[test]
fn a_stream_whose_end_was_lost_ends_when_others_go_on_without_it() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    let mut add = |event: HttpEvent<'_>| log.add(event);
    connection.push(false, Chunk::Data(&preface()), &mut add);
    connection.push(true, Chunk::Data(&settings()), &mut add);
    connection.push(false, Chunk::Data(&client.post(1, "/a", b"1")), &mut add);
    connection.push(true, Chunk::Gap(server.answer(1, b"said").len() as u64), &mut add);
    for stream in 1..20 {
        connection.push(
            false,
            Chunk::Data(&client.post(2 * stream + 1, "/b", b"")),
            &mut add,
        );
        connection.push(true, Chunk::Data(&server.answer(2 * stream + 1, b"ok")), &mut add);
    }
    let ends = ends(&log.0);
    assert!(ends.contains(&(0, Gap)), "{ends:?}");
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

/// Several exchanges with everything that frames can be, as steps.
fn conversation() -> Vec<(bool, Vec<u8>)> {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let mut padded = vec![3];
    padded.extend(b"padded\0\0\0");
    vec![
        (false, preface()),
        (true, settings()),
        (
            false,
            [
                client.post(1, "/a", b"first"),
                frame(WINDOW_UPDATE, 0, 0, &[0, 0, 1, 0]),
            ]
            .concat(),
        ),
        (
            false,
            [client.post(3, "/b", b""), frame(PING, 0, 0, &[7; 8])].concat(),
        ),
        (
            true,
            [
                frame(PING, 1, 0, &[7; 8]),
                server.headers(3, 0, &[(":status", "200")]),
            ]
            .concat(),
        ),
        (
            true,
            [server.answer(1, b"answer"), frame(DATA, 0, 3, b"event 1")].concat(),
        ),
        (false, client.post(5, "/c", b"third")),
        (
            true,
            [
                frame(DATA, PADDED, 3, &padded),
                server.headers(3, END_STREAM, &[("x-end", "1")]),
            ]
            .concat(),
        ),
        (
            true,
            server.headers(5, END_STREAM, &[(":status", "204"), ("x-end", "2")]),
        ),
        (false, client.post(7, "/d", b"fourth")),
        (
            true,
            [server.answer(7, b"last"), frame(GOAWAY, 0, 0, &[0; 8])].concat(),
        ),
    ]
}

fn borrowed(steps: &[(bool, Vec<u8>)]) -> Vec<(bool, &[u8])> {
    steps
        .iter()
        .map(|(response, bytes)| (*response, bytes.as_slice()))
        .collect()
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events(cuts in proptest::collection::vec(1usize..40, 1..200)) {
        let whole = conversation();
        let mut cuts = cuts.iter().cycle();
        let mut pieces = Vec::new();
        for (response, bytes) in &whole {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let at = (*cuts.next().unwrap()).min(rest.len());
                pieces.push((*response, &rest[..at]));
                rest = &rest[at..];
            }
        }
        prop_assert_eq!(run(&pieces, true), run(&borrowed(&whole), true));
    }

    #[test]
    fn every_prefix_gives_a_prefix(keep in 0usize..900) {
        let whole = conversation();
        let expected = run(&borrowed(&whole), false);
        let mut left = keep;
        let mut prefix = Vec::new();
        for (response, bytes) in &whole {
            let take = bytes.len().min(left);
            left -= take;
            prefix.push((*response, &bytes[..take]));
        }
        let mut seen = run(&prefix, false);
        if let Some(Seen::RequestBody(_, part) | Seen::ResponseBody(_, part)) = seen.last() {
            let at = seen.len() - 1;
            let (Seen::RequestBody(_, full) | Seen::ResponseBody(_, full)) = &expected[at] else { panic!("{at}") };
            prop_assert!(full.starts_with(part));
            seen.pop();
        }
        prop_assert_eq!(&seen[..], &expected[..seen.len()]);
    }

    #[test]
    fn a_gap_never_invents_a_complete_message(step in 0usize..11, from in 0usize..200, len in 1usize..200) {
        let whole = conversation();
        let expected = complete_bodies(&run(&borrowed(&whole), true));
        let mut connection = Connection::new(false);
        let mut log = Log::default();
        for (index, (response, bytes)) in whole.iter().enumerate() {
            let from = if index == step { from.min(bytes.len()) } else { bytes.len() };
            let to = (from + len).min(bytes.len());
            connection.push(*response, Chunk::Data(&bytes[..from]), &mut |event| log.add(event));
            if to > from {
                connection.push(*response, Chunk::Gap((to - from) as u64), &mut |event| log.add(event));
                connection.push(*response, Chunk::Data(&bytes[to..]), &mut |event| log.add(event));
            }
        }
        connection.close(&mut |event| log.add(event));
        for (exchange, response, body) in complete_bodies(&log.0) {
            let sent = expected.iter().any(|(_, r, b)| *r == response && *b == body);
            prop_assert!(sent, "exchange {} has an invented body {:?}", exchange, body);
        }
        let count = |want: fn(&Seen) -> bool| log.0.iter().filter(|seen| want(seen)).count();
        let requests = count(|seen| matches!(seen, Seen::Request(..)));
        prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::RequestEnd(..))));
        prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::ResponseEnd(..))));
    }

    #[test]
    fn hostile_frames_end_every_exchange_once_and_hold_little(
        steps in proptest::collection::vec((any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            (0u8..11, any::<u8>(), 0u32..9, proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload)),
            (1u32..9).prop_map(|stream| Peer::default().post(stream, "/a", b"x")),
            (1u32..9).prop_map(|stream| Peer::default().answer(stream, b"x")),
        ], 0u64..60), 0..30),
        joined in any::<bool>(),
    ) {
        let mut connection = Connection::new(joined);
        let mut log = Log::default();
        connection.push(false, Chunk::Data(&preface()), &mut |event| log.add(event));
        for (response, bytes, gap) in &steps {
            connection.push(*response, Chunk::Data(bytes), &mut |event| log.add(event));
            if *gap > 50 {
                connection.push(*response, Chunk::Gap(*gap), &mut |event| log.add(event));
            }
            let cap = 2 * (limits::HTTP_HEAD_BYTES + limits::HPACK_TABLE_BYTES + 64 * 1024);
            prop_assert!(connection.buffered_bytes() <= cap);
        }
        connection.close(&mut |event| log.add(event));
        let count = |want: fn(&Seen) -> bool| log.0.iter().filter(|seen| want(seen)).count();
        let requests = count(|seen| matches!(seen, Seen::Request(..)));
        prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::RequestEnd(..))));
        prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::ResponseEnd(..))));
        prop_assert!(!connection.pending());
    }
}
