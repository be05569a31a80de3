//! Laws that hold for every protocol, and HTTP/1.1 under them.

use super::*;
use crate::limits;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

type Law = Result<(), TestCaseError>;
/// Steps of a conversation: whether it is the server's, and its bytes.
pub type Steps = [(bool, Vec<u8>)];

fn borrowed(whole: &Steps) -> Vec<(bool, &[u8])> {
    let steps = whole.iter();
    steps
        .map(|(response, bytes)| (*response, bytes.as_slice()))
        .collect()
}

/// Cut anywhere, a conversation gives the same events.
pub fn cutting_changes_nothing(whole: &Steps, cuts: &[usize]) -> Law {
    let mut cuts = cuts.iter().cycle();
    let mut pieces = Vec::new();
    for (response, bytes) in whole {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let at = (*cuts.next().unwrap()).min(rest.len());
            pieces.push((*response, &rest[..at]));
            rest = &rest[at..];
        }
    }
    prop_assert_eq!(run(&pieces, true), run(&borrowed(whole), true));
    Ok(())
}

/// The first `keep` bytes of it give a prefix of its events.
pub fn a_prefix_gives_a_prefix(whole: &Steps, keep: usize) -> Law {
    let expected = run(&borrowed(whole), false);
    let mut left = keep;
    let mut prefix = Vec::new();
    for (response, bytes) in whole {
        let take = bytes.len().min(left);
        left -= take;
        prefix.push((*response, &bytes[..take]));
    }
    let mut seen = run(&prefix, false);
    if let Some(Seen::RequestBody(_, part) | Seen::ResponseBody(_, part)) = seen.last() {
        let at = seen.len() - 1;
        let (Seen::RequestBody(_, full) | Seen::ResponseBody(_, full)) = &expected[at] else {
            panic!("{at}")
        };
        prop_assert!(full.starts_with(part));
        seen.pop();
    }
    prop_assert_eq!(&seen[..], &expected[..seen.len()]);
    Ok(())
}

/// With bytes of one step missing, no body is whole that was not sent. Gives how many bytes were lost, how many bodies are whole, and
/// how many were sent.
pub fn a_gap_invents_nothing(
    whole: &Steps,
    (step, from, len): (usize, usize, usize),
) -> Result<(usize, usize, usize), TestCaseError> {
    let expected = complete_bodies(&run(&borrowed(whole), true));
    let mut connection = Connection::new(false);
    let (mut log, mut lost) = (Log::default(), 0);
    for (index, (response, bytes)) in whole.iter().enumerate() {
        let from = if index == step {
            from.min(bytes.len())
        } else {
            bytes.len()
        };
        let to = (from + len).min(bytes.len());
        let mut push = |chunk| connection.push(*response, chunk, &mut |event| log.add(event));
        push(Chunk::Data(&bytes[..from]));
        if to > from {
            lost += to - from;
            push(Chunk::Gap((to - from) as u64));
            push(Chunk::Data(&bytes[to..]));
        }
    }
    connection.close(&mut |event| log.add(event));
    every_exchange_ends_once(&log)?;
    let bodies = complete_bodies(&log.0);
    for (exchange, response, body) in &bodies {
        // Numbers shift when a request was lost whole; the body must still be one that was sent.
        let sent = expected.iter().any(|(_, r, b)| r == response && b == body);
        prop_assert!(sent, "exchange {} has an invented body {:?}", exchange, body);
    }
    Ok((lost, bodies.len(), expected.len()))
}

/// Every request has one end, and its response has one.
pub fn every_exchange_ends_once(log: &Log) -> Law {
    let count = |want: fn(&Seen) -> bool| log.0.iter().filter(|seen| want(seen)).count();
    let requests = count(|seen| matches!(seen, Seen::Request(..)));
    prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::RequestEnd(..))));
    prop_assert_eq!(requests, count(|seen| matches!(seen, Seen::ResponseEnd(..))));
    Ok(())
}

/// A conversation of several exchanges, as steps.
pub fn conversation() -> Vec<(bool, Vec<u8>)> {
    let sse = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = sse.to_vec();
    for number in 0..5 {
        let event = format!("data: {{\"n\":{number}}}\n\n");
        stream.extend(format!("{:x}\r\n{event}\r\n", event.len()).bytes());
    }
    stream.extend(b"0\r\n\r\n");
    let chunked_post = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    vec![
        (false, POST.to_vec()),
        (true, PLAIN.to_vec()),
        (false, chunked_post.to_vec()),
        (true, stream),
        (false, b"GET /props HTTP/1.1\r\n\r\n".to_vec()),
        (true, b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()),
        (false, POST.to_vec()),
        (true, [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], CHUNKED].concat()),
    ]
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_events(cuts in proptest::collection::vec(1usize..40, 1..200)) {
        cutting_changes_nothing(&conversation(), &cuts)?;
    }

    #[test]
    fn every_prefix_gives_a_prefix(keep in 0usize..900) {
        a_prefix_gives_a_prefix(&conversation(), keep)?;
    }

    #[test]
    fn a_gap_never_invents_a_complete_message(step in 0usize..8, from in 0usize..400, len in 1usize..400) {
        let (lost, whole, sent) = a_gap_invents_nothing(&conversation(), (step, from, len))?;
        prop_assert!(lost == 0 || whole < sent);
    }

    #[test]
    fn hostile_bytes_end_every_exchange_once_and_hold_little(
        steps in proptest::collection::vec((any::<bool>(), prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            Just(POST.to_vec()), Just(PLAIN.to_vec()), Just(CHUNKED.to_vec()), Just(CHUNKED[..50].to_vec()),
        ], 0u64..30), 0..30),
        joined in any::<bool>(),
    ) {
        let mut connection = Connection::new(joined);
        let mut log = Log::default();
        for (response, bytes, gap) in &steps {
            connection.push(*response, Chunk::Data(bytes), &mut |event| log.add(event));
            if *gap > 20 {
                connection.push(*response, Chunk::Gap(*gap), &mut |event| log.add(event));
            }
            prop_assert!(connection.buffered_bytes() <= 2 * (limits::HTTP_HEAD_BYTES + 60));
        }
        connection.close(&mut |event| log.add(event));
        every_exchange_ends_once(&log)?;
        prop_assert!(!connection.pending());
    }
}
