mod laws;

use crate::http::{BodyState, Chunk, Connection, HttpEvent};
use crate::limits;
use BodyState::{Aborted, Complete, Gap, Malformed};
use flate2::{Compress, Compression, FlushCompress};

/// What a test compares; losses of one direction that follow one another are joined.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    /// Response, binary, content.
    Message(bool, bool, Vec<u8>),
    Lost(bool),
    Close(bool, Option<u16>, String),
    End(BodyState),
}

#[derive(Default)]
struct Log {
    seen: Vec<Seen>,
    wire_bytes: u64,
}

impl Log {
    fn add(&mut self, event: &HttpEvent<'_>) {
        let seen = match event {
            HttpEvent::Message {
                response,
                binary,
                data,
                wire_bytes,
                ..
            } => {
                self.wire_bytes += wire_bytes;
                Seen::Message(*response, *binary, data.to_vec())
            }
            HttpEvent::MessageLost {
                response,
                seen,
                missed,
                ..
            } => {
                self.wire_bytes += seen + missed;
                match self.seen.last() {
                    Some(Seen::Lost(last)) if last == response => return,
                    _ => Seen::Lost(*response),
                }
            }
            HttpEvent::CloseFrame {
                response,
                code,
                reason,
                ..
            } => Seen::Close(*response, *code, (*reason).to_owned()),
            HttpEvent::ResponseEnd { end, .. } => Seen::End(end.state),
            _ => return,
        };
        self.seen.push(seen);
    }
}

/// A connection behind its handshake.
fn connected(extensions: &str) -> Connection {
    let mut connection = Connection::new(false);
    let ask = b"GET /v1/realtime HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let extensions = match extensions {
        "" => String::new(),
        some => format!("Sec-WebSocket-Extensions: {some}\r\n"),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{extensions}\r\n"
    );
    connection.push(false, Chunk::Data(ask), &mut |_| {});
    connection.push(true, Chunk::Data(answer.as_bytes()), &mut |_| {});
    connection
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(masked | len as u8),
        len @ 126..=0xffff => {
            bytes.push(masked | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        len => {
            bytes.push(masked | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or_default();
    bytes.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);
const FIN: u8 = 0x80;
const PACKED: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// Compresses messages as a sender does, with or without takeover.
struct Packer(Compress, bool);

impl Packer {
    fn new(keeps: bool) -> Self {
        Self(Compress::new(Compression::default(), false), keeps)
    }

    fn pack(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 1024);
        self.0.compress_vec(data, &mut out, FlushCompress::Sync).unwrap();
        if !self.1 {
            self.0.reset();
        }
        assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
        out.truncate(out.len() - 4);
        out
    }
}

fn push(connection: &mut Connection, log: &mut Log, response: bool, bytes: &[u8]) {
    connection.push(response, Chunk::Data(bytes), &mut |event| log.add(&event));
}

fn run(extensions: &str, steps: &[(bool, Vec<u8>)]) -> Vec<Seen> {
    let (mut connection, mut log) = (connected(extensions), Log::default());
    for (response, bytes) in steps {
        push(&mut connection, &mut log, *response, bytes);
    }
    connection.close(&mut |event| log.add(&event));
    log.seen
}

fn text(response: bool, text: &str) -> Seen {
    Seen::Message(response, false, text.as_bytes().to_vec())
}

fn close(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

#[test]
fn gives_messages_of_both_sides_without_their_masks() {
    let steps = [
        (false, frame(FIN | TEXT, MASK, b"Hello")),
        (true, frame(FIN | BINARY, None, &[7; 70_000])),
        (true, frame(FIN | CLOSE, None, &close(1000, "bye"))),
        (false, frame(FIN | CLOSE, MASK, &close(1000, ""))),
    ];
    assert_eq!(
        run("", &steps),
        [
            text(false, "Hello"),
            Seen::Message(true, true, vec![7; 70_000]),
            Seen::Close(true, Some(1000), "bye".into()),
            Seen::Close(false, Some(1000), String::new()),
            Seen::End(Complete),
        ]
    );
}

#[test]
fn joins_fragments_with_control_frames_between() {
    let steps = [
        (true, frame(TEXT, None, b"na")),
        (true, frame(FIN | PING, None, b"are you there")),
        (true, frame(0, None, b"")),
        (true, frame(FIN, None, "\u{ef}f".as_bytes())),
    ];
    assert_eq!(run("", &steps), [text(true, "na\u{ef}f"), Seen::End(Aborted)]);
}

#[test]
fn inflates_messages_that_refer_to_the_ones_before() {
    for keeps in [true, false] {
        let mut packer = Packer::new(keeps);
        let long = "data and data and data ".repeat(4000);
        let packed = packer.pack(long.as_bytes());
        let (first, second) = packed.split_at(packed.len() / 2);
        let steps = [
            (true, frame(TEXT | PACKED, None, first)),
            (true, frame(FIN, None, second)),
            (true, frame(FIN | TEXT, None, b"plain between")),
            (
                true,
                frame(FIN | TEXT | PACKED, None, &packer.pack(long.as_bytes())),
            ),
            (true, frame(FIN | TEXT | PACKED, None, &packer.pack(b""))),
        ];
        let extensions = match keeps {
            true => "permessage-deflate",
            false => "permessage-deflate; server_no_context_takeover",
        };
        let expected = [
            text(true, &long),
            text(true, "plain between"),
            text(true, &long),
            text(true, ""),
            Seen::End(Aborted),
        ];
        assert_eq!(run(extensions, &steps), expected, "{keeps}");
    }
}

#[test]
fn frames_right_behind_the_handshake_are_read() {
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    let answer = [
        &b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\r\n"[..],
        &frame(FIN | TEXT, None, b"session.created"),
    ]
    .concat();
    push(
        &mut connection,
        &mut log,
        false,
        b"GET /v1/realtime HTTP/1.1\r\n\r\n",
    );
    push(&mut connection, &mut log, true, &answer);
    assert_eq!(log.seen, [text(true, "session.created")]);
}

#[test]
fn bytes_missing_inside_a_frame_cost_its_message_alone() {
    let (mut connection, mut log) = (connected(""), Log::default());
    let bytes = frame(FIN | TEXT, None, b"torn message");
    push(&mut connection, &mut log, true, &bytes[..6]);
    connection.push(true, Chunk::Gap(4), &mut |event| log.add(&event));
    push(&mut connection, &mut log, true, &bytes[10..]);
    push(
        &mut connection,
        &mut log,
        true,
        &frame(FIN | TEXT, None, b"whole"),
    );
    assert_eq!(log.seen, [Seen::Lost(true), text(true, "whole")]);
}

#[test]
fn a_missing_head_costs_the_rest_of_the_direction_and_only_that() {
    let (mut connection, mut log) = (connected(""), Log::default());
    connection.push(true, Chunk::Gap(3), &mut |event| log.add(&event));
    push(
        &mut connection,
        &mut log,
        true,
        &frame(FIN | TEXT, None, b"unsure"),
    );
    push(
        &mut connection,
        &mut log,
        false,
        &frame(FIN | TEXT, MASK, b"sure"),
    );
    connection.close(&mut |event| log.add(&event));
    assert_eq!(log.seen, [Seen::Lost(true), text(false, "sure"), Seen::End(Gap)]);
}

#[test]
fn a_compressed_message_with_a_hole_costs_those_that_refer_to_it() {
    for (extensions, keeps) in [
        ("permessage-deflate", true),
        ("permessage-deflate; server_no_context_takeover", false),
    ] {
        let mut packer = Packer::new(keeps);
        let (mut connection, mut log) = (connected(extensions), Log::default());
        let torn = frame(FIN | TEXT | PACKED, None, &packer.pack(b"one two three four"));
        push(&mut connection, &mut log, true, &torn[..5]);
        connection.push(true, Chunk::Gap(torn.len() as u64 - 5), &mut |event| {
            log.add(&event)
        });
        let next = frame(FIN | TEXT | PACKED, None, &packer.pack(b"one two three"));
        push(&mut connection, &mut log, true, &next);
        push(
            &mut connection,
            &mut log,
            true,
            &frame(FIN | TEXT, None, b"plain"),
        );
        let mut expected = vec![Seen::Lost(true), text(true, "plain")];
        if !keeps {
            expected.insert(1, text(true, "one two three"));
        }
        assert_eq!(log.seen, expected, "{extensions}");
    }
}

#[test]
fn what_no_peer_may_send_ends_the_direction_as_malformed() {
    for bad in [
        frame(0x83, None, b"x"),
        frame(FIN | TEXT | PACKED, None, b"x"),
        frame(PING, None, b""),
    ] {
        let steps = [(true, bad), (true, frame(FIN | TEXT, None, b"later"))];
        let seen = run("", &steps);
        assert!(
            matches!(seen[..], [Seen::Lost(true), Seen::End(Malformed(_))]),
            "{seen:?}"
        );
    }
}

#[test]
fn text_that_is_none_and_messages_in_disorder_are_lost_one_by_one() {
    let steps = [
        (true, frame(FIN | TEXT, None, b"\xff\xfe")),
        (true, frame(FIN, None, b"continuation of nothing")),
        (true, frame(TEXT, None, b"begun and never ")),
        (true, frame(FIN | TEXT, None, b"ok")),
    ];
    assert_eq!(
        run("", &steps),
        [Seen::Lost(true), text(true, "ok"), Seen::End(Gap)]
    );
}

#[test]
fn an_unknown_extension_leaves_no_content() {
    let seen = run("x-secret", &[(true, frame(FIN | TEXT, None, b"what"))]);
    assert_eq!(seen, [Seen::Lost(true), Seen::End(Gap)]);
}

#[test]
fn a_message_over_its_cap_is_lost_and_the_next_is_read() {
    let mut packer = Packer::new(true);
    let long: Vec<u8> = (0..=limits::BODY_BYTES).map(|at| (at * at % 251) as u8).collect();
    let steps = [
        (true, frame(FIN | BINARY, None, &long)),
        (true, frame(FIN | BINARY | PACKED, None, &packer.pack(&long))),
        (true, frame(FIN | TEXT | PACKED, None, &packer.pack(b"small"))),
    ];
    let seen = run("permessage-deflate", &steps);
    assert_eq!(seen, [Seen::Lost(true), text(true, "small"), Seen::End(Gap)]);
}

#[test]
fn a_bomb_is_given_up_at_its_cap() {
    let mut packer = Packer::new(true);
    let bomb = vec![0; limits::INFLATED_BYTES as usize + (1 << 20)];
    let steps = [
        (true, frame(FIN | BINARY | PACKED, None, &packer.pack(&bomb))),
        (
            true,
            frame(FIN | TEXT | PACKED, None, &packer.pack(b"refers to it")),
        ),
    ];
    let seen = run("permessage-deflate", &steps);
    assert_eq!(seen, [Seen::Lost(true), Seen::End(Gap)]);
}

#[test]
fn a_close_with_an_error_says_which() {
    let seen = run(
        "",
        &[(true, frame(FIN | CLOSE, None, &close(1011, "out of memory")))],
    );
    assert_eq!(
        seen,
        [
            Seen::Close(true, Some(1011), "out of memory".into()),
            Seen::End(Complete)
        ]
    );
}
