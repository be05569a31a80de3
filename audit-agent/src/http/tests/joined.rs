//! Connections that are older than the sight of them, and losses inside of messages.

use super::*;

#[test]
fn a_joined_connection_starts_at_the_next_request() {
    let mut connection = Connection::new(true);
    let mut log = Log::default();
    let mut add = |event: HttpEvent<'_>| log.add(event);
    connection.push(true, Chunk::Data(b"tail of an answer\r\n"), &mut add);
    connection.push(false, Chunk::Data(POST), &mut add);
    connection.push(true, Chunk::Data(PLAIN), &mut add);
    connection.push(false, Chunk::Data(POST), &mut add);
    connection.push(true, Chunk::Data(PLAIN), &mut add);
    let ends: Vec<_> = log
        .0
        .iter()
        .filter(|seen| matches!(seen, Seen::ResponseEnd(..)))
        .collect();
    assert_eq!(
        ends,
        [&Seen::ResponseEnd(0, Gap), &Seen::ResponseEnd(1, Complete)]
    );
}

#[test]
fn a_body_that_was_joined_ends_before_the_request_after_its_answer() {
    let mut connection = Connection::new(true);
    let mut log = Log::default();
    let steps: [(bool, &[u8]); 3] = [
        (false, b"{\"no\": \"line end\"}"),
        (true, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        (false, b"GET /next HTTP/1.1\r\n\r\n"),
    ];
    for (response, bytes) in steps {
        connection.push(response, Chunk::Data(bytes), &mut |event| log.add(event));
    }
    assert!(log.0.contains(&Seen::Request(0, "/next".into())), "{:?}", log.0);
}

#[test]
fn an_idle_connection_is_joined_without_loss() {
    let mut connection = Connection::new(true);
    let mut log = Log::default();
    for _ in 0..2 {
        connection.push(false, Chunk::Data(POST), &mut |event| log.add(event));
        connection.push(true, Chunk::Data(PLAIN), &mut |event| log.add(event));
    }
    let ends: Vec<_> = log
        .0
        .iter()
        .filter(|seen| matches!(seen, Seen::ResponseEnd(..)))
        .collect();
    assert_eq!(
        ends,
        [&Seen::ResponseEnd(0, Complete), &Seen::ResponseEnd(1, Complete)]
    );
}

#[test]
fn resumes_after_a_gap_and_never_calls_a_torn_message_complete() {
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    let mut add = |event: HttpEvent<'_>| log.add(event);
    connection.push(false, Chunk::Data(POST), &mut add);
    // Inside a chunk's frame line the place is lost.
    connection.push(true, Chunk::Data(&CHUNKED[..50]), &mut add);
    connection.push(true, Chunk::Gap(CHUNKED.len() as u64 - 50), &mut add);
    for _ in 0..2 {
        connection.push(false, Chunk::Data(POST), &mut add);
        connection.push(true, Chunk::Data(PLAIN), &mut add);
    }
    let ends: Vec<_> = log
        .0
        .iter()
        .filter(|seen| matches!(seen, Seen::ResponseEnd(..)))
        .collect();
    assert_eq!(
        ends,
        [
            &Seen::ResponseEnd(0, Gap),
            &Seen::ResponseEnd(1, Gap),
            &Seen::ResponseEnd(2, Complete)
        ]
    );
}
