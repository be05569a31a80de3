//! gRPC calls on the streams of a connection.

use super::*;

/// What a test compares.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    /// Exchange, response, content, bytes on the wire.
    Message(u64, bool, Vec<u8>, u64),
    Lost(u64, bool),
    Trailers(u64, Option<String>),
    End(u64, BodyState, u64),
}

#[derive(Default)]
struct Notes(Vec<Said>);

impl Notes {
    fn add(&mut self, event: &HttpEvent<'_>) {
        self.0.push(match event {
            HttpEvent::Message {
                exchange,
                response,
                data,
                wire_bytes,
                ..
            } => Said::Message(*exchange, *response, data.to_vec(), *wire_bytes),
            HttpEvent::MessageLost {
                exchange, response, ..
            } => Said::Lost(*exchange, *response),
            HttpEvent::Trailers { exchange, fields } => {
                Said::Trailers(*exchange, fields.first("grpc-status").map(str::to_owned))
            }
            HttpEvent::ResponseEnd { exchange, end } => Said::End(*exchange, end.state, end.missed_bytes),
            HttpEvent::RequestBody { .. } | HttpEvent::ResponseBody { .. } => {
                unreachable!("gRPC has messages")
            }
            _ => return,
        });
    }
}

fn message(data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn ask(peer: &mut Peer, stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "POST"),
        (":path", "/inference.GRPCInferenceService/ModelInfer"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    peer.headers(stream, 0, &fields)
}

fn answer(peer: &mut Peer, stream: u32) -> Vec<u8> {
    peer.headers(
        stream,
        0,
        &[(":status", "200"), ("content-type", "application/grpc")],
    )
}

/// Pieces of one direction, or so many missing bytes.
enum Give {
    Client(Vec<u8>),
    Server(Vec<u8>),
    Missing(bool, u64),
}

fn talk_grpc(steps: &[Give]) -> Vec<Said> {
    let (mut connection, mut notes) = (Connection::new(false), Notes::default());
    let (hello, reply) = (preface(), settings());
    connection.push(false, Chunk::Data(&hello), &mut |event| notes.add(&event));
    connection.push(true, Chunk::Data(&reply), &mut |event| notes.add(&event));
    for step in steps {
        let (response, chunk) = match step {
            Give::Client(bytes) => (false, Chunk::Data(bytes)),
            Give::Server(bytes) => (true, Chunk::Data(bytes)),
            Give::Missing(response, len) => (*response, Chunk::Gap(*len)),
        };
        connection.push(response, chunk, &mut |event| notes.add(&event));
        assert!(connection.buffered_bytes() <= limits::H2_MESSAGES_BYTES + 64 * 1024);
    }
    connection.close(&mut |event| notes.add(&event));
    notes.0
}

#[test]
fn gives_messages_of_both_sides_and_the_status() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let halves = message(b"answer in two frames");
    let (first, second) = halves.split_at(9);
    let trailers = server_trailers(&mut server);
    let (head, asked) = (answer(&mut server, 1), ask(&mut client, 1));
    let (wire_asked, wire_head) = (asked.len() as u64 + 9 + 8, head.len() as u64 + 2 * 9 + 25);
    let said = talk_grpc(&[
        Give::Client(asked),
        Give::Client(frame(DATA, END_STREAM, 1, &message(b"ask"))),
        Give::Server(head),
        Give::Server(frame(DATA, 0, 1, first)),
        Give::Server(frame(DATA, 0, 1, second)),
        Give::Server(trailers),
    ]);
    assert_eq!(
        said,
        [
            Said::Message(0, false, b"ask".to_vec(), wire_asked),
            Said::Message(0, true, b"answer in two frames".to_vec(), wire_head),
            Said::Trailers(0, Some("0".into())),
            Said::End(0, Complete, 0),
        ]
    );
}

/// Trailers without entries in the table, so that they may be made before the head.
fn server_trailers(_: &mut Peer) -> Vec<u8> {
    let mut block = vec![0x00, 11];
    block.extend(b"grpc-status\x010");
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)
}

#[test]
fn a_call_that_is_refused_has_its_status_in_the_head() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let refused = [
        (":status", "200"),
        ("content-type", "application/grpc"),
        ("grpc-status", "12"),
    ];
    let said = talk_grpc(&[
        Give::Client(ask(&mut client, 1)),
        Give::Server(server.headers(1, END_STREAM, &refused)),
    ]);
    assert_eq!(
        said,
        [Said::Trailers(0, Some("12".into())), Said::End(0, Complete, 0)]
    );
}

#[test]
fn bytes_missing_inside_a_message_cost_it_alone() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let torn = frame(DATA, 0, 1, &message(b"torn message"));
    let said = talk_grpc(&[
        Give::Client(ask(&mut client, 1)),
        Give::Server(answer(&mut server, 1)),
        Give::Server(torn[..16].to_vec()),
        Give::Missing(true, 4),
        Give::Server(torn[20..].to_vec()),
        Give::Server(frame(DATA, END_STREAM, 1, &message(b"whole"))),
    ]);
    let messages: Vec<_> = said
        .iter()
        .filter(|said| !matches!(said, Said::Message(_, true, data, _) if data != b"whole"))
        .collect();
    assert_eq!(messages.len(), said.len(), "{said:?}");
    assert_eq!(said[0], Said::Lost(0, true));
    assert_eq!(said.last(), Some(&Said::End(0, Gap, 4)));
}

#[test]
fn bytes_missing_between_frames_leave_no_message_in_doubt() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let said = talk_grpc(&[
        Give::Client(ask(&mut client, 1)),
        Give::Server(answer(&mut server, 1)),
        Give::Missing(true, 40),
        Give::Server(frame(DATA, 0, 1, &message(b"nobody knows"))),
        Give::Server(frame(DATA, END_STREAM, 1, &message(b"what this is"))),
        Give::Server(frame(PING, 0, 0, &[0; 8])),
    ]);
    assert!(
        said.iter()
            .all(|said| !matches!(said, Said::Message(_, true, ..))),
        "{said:?}"
    );
    assert_eq!(said.last(), Some(&Said::End(0, Gap, 0)));
}

#[test]
fn trailers_behind_a_lost_answer_are_no_complete_answer() {
    let (mut client, mut server) = (Peer::default(), Peer::default());
    let known = [
        Give::Client(ask(&mut client, 1)),
        Give::Server(answer(&mut server, 1)),
        Give::Server(server.headers(1, END_STREAM, &[("grpc-status", "0")])),
    ];
    let lost = answer(&mut server, 3).len() as u64 + 9 + 8;
    let second = [
        Give::Client(ask(&mut client, 3)),
        Give::Missing(true, lost),
        Give::Server(server.headers(3, END_STREAM, &[("grpc-status", "0")])),
        Give::Server(frame(PING, 0, 0, &[0; 8])),
    ];
    let steps: Vec<_> = known.into_iter().chain(second).collect();
    let said = talk_grpc(&steps);
    assert_eq!(said.last(), Some(&Said::End(1, Gap, 0)));
}

#[test]
fn messages_that_are_never_whole_are_held_up_to_their_cap() {
    let mut client = Peer::default();
    let mut steps = Vec::new();
    let long = vec![7; 3 << 20];
    for stream in (1..40).step_by(2) {
        steps.push(Give::Client(ask(&mut client, stream)));
        let mut begun = vec![0];
        begun.extend((limits::BODY_BYTES as u32).to_be_bytes());
        begun.extend(&long);
        steps.push(Give::Client(frame(DATA, 0, stream, &begun)));
    }
    let lost = |said: &Said| matches!(said, Said::Lost(_, false));
    assert_eq!(talk_grpc(&steps).into_iter().filter(lost).count(), 20);
}
