//! Laws of missing bytes that hold for every protocol: each is told exactly once, and one that shows late is still told.

use super::tests::laws::conversation;
use super::tests::{Log, Seen};
use super::*;
use proptest::prelude::*;

const HEAD: &[u8] = b"POST /completion HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n";
const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
use BodyState::{Aborted, Complete, Gap};

fn read(chunks: &[(bool, Chunk<'_>)]) -> (Connection, Log) {
    let mut connection = Connection::new(false);
    let mut log = Log::default();
    for (response, chunk) in chunks {
        connection.push(*response, *chunk, &mut |event| log.add(event));
    }
    (connection, log)
}

fn seen(chunks: &[(bool, Chunk<'_>)]) -> Vec<Seen> {
    let (_, log) = read(chunks);
    log.0
}

fn ends(chunks: &[(bool, Chunk<'_>)], settled: bool) -> Vec<Seen> {
    let (mut connection, mut log) = read(chunks);
    if settled {
        connection.settle(&mut |event| log.add(event));
    }
    let is_end = |seen: &Seen| matches!(seen, Seen::RequestEnd(..) | Seen::ResponseEnd(..));
    log.0.into_iter().filter(is_end).collect()
}

#[test]
fn a_loss_that_shows_after_the_answer_is_the_requests() {
    let chunks = [
        (false, Chunk::Data(HEAD)),
        (false, Chunk::Data(b"ab")),
        (true, Chunk::Data(PLAIN)),
    ];
    assert_eq!(ends(&chunks, false), [Seen::ResponseEnd(0, Complete)]);
    let late = [&chunks[..], &[(false, Chunk::Gap(2))]].concat();
    assert_eq!(
        ends(&late, false),
        [Seen::ResponseEnd(0, Complete), Seen::RequestEnd(0, Gap)]
    );
}

#[test]
fn a_request_that_goes_on_after_its_answer_is_read_to_its_end() {
    let chunks = [
        (false, Chunk::Data(HEAD)),
        (true, Chunk::Data(PLAIN)),
        (false, Chunk::Data(b"abcd")),
    ];
    assert_eq!(
        ends(&chunks, false),
        [Seen::ResponseEnd(0, Complete), Seen::RequestEnd(0, Complete)]
    );
}

#[test]
fn a_request_of_which_no_more_was_sent_is_aborted() {
    let chunks = [(false, Chunk::Data(HEAD)), (true, Chunk::Data(PLAIN))];
    assert_eq!(
        ends(&chunks, true),
        [Seen::ResponseEnd(0, Complete), Seen::RequestEnd(0, Aborted)]
    );
}

#[test]
fn an_answer_that_is_lost_in_whole_takes_none_from_the_next_request() {
    let first = [(false, Chunk::Data(HEAD)), (false, Chunk::Gap(4))];
    let asked = [(false, Chunk::Data(HEAD)), (false, Chunk::Data(b"abcd"))];
    let lost = [(true, Chunk::Gap(PLAIN.len() as u64))];
    let answer = [(true, Chunk::Data(PLAIN))];
    let shown_at_once = [&first[..], &lost, &asked, &answer, &asked, &answer].concat();
    let shown_late = [&first[..], &asked, &lost, &answer, &asked, &answer].concat();
    for chunks in [shown_at_once, shown_late] {
        let seen = seen(&chunks);
        let answered = |number| seen.contains(&Seen::ResponseBody(number, b"ok".to_vec()));
        assert_eq!([0, 1, 2].map(answered), [false, true, true], "{seen:?}");
        // Behind a loss an answer is found by search, and doubted; the next one is not.
        for end in [(0, Gap), (1, Gap), (2, Complete)] {
            assert!(seen.contains(&Seen::ResponseEnd(end.0, end.1)), "{seen:?}");
        }
    }
}

#[test]
fn a_client_that_pipelines_gets_no_answer_of_which_it_is_unclear_whose() {
    let asked = [(false, Chunk::Data(HEAD)), (false, Chunk::Data(b"abcd"))];
    let begun = (
        true,
        Chunk::Data(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    );
    let (lost, answer) = ((true, Chunk::Gap(9)), (true, Chunk::Data(PLAIN)));
    let seen = seen(&[&asked[..], &asked, &asked, &[begun, lost, answer]].concat());
    assert!(
        !seen.iter().any(|seen| matches!(seen, Seen::ResponseBody(..))),
        "{seen:?}"
    );
}

#[test]
fn an_answer_behind_an_interim_one_that_was_found_is_in_doubt_too() {
    let asked = [(false, Chunk::Data(HEAD)), (false, Chunk::Data(b"abcd"))];
    let lost = [(true, Chunk::Gap(9))];
    let interim = [(true, Chunk::Data(b"HTTP/1.1 103 Early Hints\r\n\r\n"))];
    let seen = seen(&[&asked[..], &lost, &interim, &[(true, Chunk::Data(PLAIN))]].concat());
    assert!(seen.contains(&Seen::ResponseEnd(0, Gap)), "{seen:?}");
}

#[test]
fn a_beginning_that_is_cut_before_it_says_what_it_is_is_told() {
    for (response, bytes) in [(false, &b"PO"[..]), (true, b"HTTP/1.1 2")] {
        for lost in [false, true] {
            let (mut connection, _) = read(&[(response, Chunk::Data(bytes))]);
            let mut seen = 0;
            let mut add = |event: HttpEvent<'_>| seen += told(&event).0;
            match lost {
                true => connection.lose(&mut add),
                false => connection.close(&mut add),
            }
            assert_eq!(seen, bytes.len() as u64);
        }
    }
}

/// Bytes that an event says were seen, and are missing.
fn told(event: &HttpEvent<'_>) -> (u64, u64) {
    match event {
        HttpEvent::RequestEnd { end, .. } | HttpEvent::ResponseEnd { end, .. } => {
            (end.wire_bytes, end.missed_bytes)
        }
        HttpEvent::Skipped { seen, missed, .. } | HttpEvent::MessageLost { seen, missed, .. } => {
            (*seen, *missed)
        }
        HttpEvent::Message { wire_bytes, .. } => (*wire_bytes, 0),
        _ => (0, 0),
    }
}

proptest! {
    /// Pieces of a conversation, each of which is there or missing.
    #[test]
    fn every_byte_is_told_once_as_seen_or_missing(
        cuts in proptest::collection::vec((1usize..120, proptest::bool::weighted(0.3)), 4..60),
        joined in any::<bool>(),
    ) {
        let mut connection = Connection::new(joined);
        let (mut sent, mut sum) = ((0, 0), (0, 0));
        let mut add = |event: HttpEvent<'_>| {
            let (seen, missed) = told(&event);
            sum = (sum.0 + seen, sum.1 + missed);
        };
        let mut cuts = cuts.iter().cycle();
        for (response, bytes) in conversation() {
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (len, lost) = *cuts.next().expect("a cycle");
                let (piece, left) = rest.split_at(len.min(rest.len()));
                let chunk = if lost { Chunk::Gap(piece.len() as u64) } else { Chunk::Data(piece) };
                *(if lost { &mut sent.1 } else { &mut sent.0 }) += piece.len() as u64;
                connection.push(response, chunk, &mut add);
                rest = left;
            }
        }
        connection.close(&mut add);
        prop_assert_eq!(sum, sent);
    }
}
