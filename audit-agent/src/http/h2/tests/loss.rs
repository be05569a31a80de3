//! Connections that were joined, and bytes that are missing.

use super::*;

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
