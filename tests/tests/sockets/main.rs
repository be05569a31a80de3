//! Sockets of several processes on one port, sockets at one address one after the other, and servers that end: which bytes belong
//! together is told by the socket, never by port, process or descriptor. Events are made by hand; no kernel is needed.

mod host;

use audit_agent::pipeline::Output;
use audit_agent::record::Body as Record;
use audit_common::abi::Shortfall;
use audit_common::config::Verdict;
use audit_common::decode::{Body, Conn, Data, Direction};
use host::{AF_INET, AF_UNIX, Host, RECORD, connection, id, key, plain, request, response, tls_socket};
use std::collections::BTreeSet;

#[test]
fn workers_that_share_a_port_have_each_their_own_records() {
    let workers = [(101, key(0xa0, 1), 5001), (102, key(0xb0, 2), 5002)];
    let mut host = Host::new();
    let exchanges =
        workers.map(|(pid, ..)| (request(&format!("to {pid}")), response(&format!("from-{pid}"))));
    for (pid, conn, client) in workers {
        host.open(pid, conn, client);
    }
    // All their pieces in turn, on descriptors that have the same number in both.
    for ((pid, conn, _), (asked, _)) in workers.iter().zip(&exchanges) {
        host.data(*pid, *conn, Direction::Rx, 0, asked);
    }
    for half in [0, 1] {
        for ((pid, conn, _), (_, (answer, cut))) in workers.iter().zip(&exchanges) {
            let (first, second) = answer.split_at(*cut);
            match half {
                0 => host.data(*pid, *conn, Direction::Tx, 0, first),
                _ => host.data(*pid, *conn, Direction::Tx, *cut, second),
            }
        }
    }
    for ((pid, conn, client), (asked, (answer, _))) in workers.iter().zip(&exchanges) {
        host.close(*pid, *conn, *client, (asked.len(), answer.len()));
    }
    let records = host.records();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (id(record), record.completeness.as_str(), record.client.port))
        .collect();
    assert_eq!(
        seen,
        [
            ("from-101", "complete", Some(5001)),
            ("from-102", "complete", Some(5002))
        ]
    );
}

#[test]
fn a_socket_at_the_address_of_an_old_one_is_another() {
    let (old, new) = (key(0xa0, 1), key(0xa0, 2));
    let (asked, (first, cut)) = (request("one"), response("old"));
    let (second, _) = response("new");
    let mut host = Host::new();
    host.open(101, old, 5001);
    host.data(101, old, Direction::Rx, 0, &asked);
    host.data(101, old, Direction::Tx, 0, &first[..cut]);
    // Accept gives the descriptor and the memory of the old socket to a new client, and the old one's last event is late.
    host.open(101, new, 5002);
    host.data(101, new, Direction::Rx, 0, &asked);
    host.data(101, old, Direction::Tx, cut, &first[cut..]);
    host.data(101, new, Direction::Tx, 0, &second);
    host.close(101, old, 5001, (asked.len(), first.len()));
    host.close(101, new, 5002, (asked.len(), second.len()));
    let records = host.records();
    let seen: Vec<_> = records
        .iter()
        .map(|record| (id(record), record.completeness.as_str(), record.client.port))
        .collect();
    assert_eq!(
        seen,
        [("old", "complete", Some(5001)), ("new", "complete", Some(5002))]
    );
}

#[test]
fn a_server_that_ends_inside_a_stream_and_its_successor_are_told_apart() {
    let (asked, (answer, cut)) = (request("one"), response("first"));
    let (later, _) = response("second");
    let mut host = Host::new();
    let (before, after) = (key(0xa0, 1), key(0xb0, 2));
    host.open(101, before, 5001);
    host.data(101, before, Direction::Rx, 0, &asked);
    host.data(101, before, Direction::Tx, 0, &answer[..cut]);
    host.close(101, before, 5001, (asked.len(), cut));
    // Another process listens on its port.
    host.open(202, after, 5002);
    host.data(202, after, Direction::Rx, 0, &asked);
    host.data(202, after, Direction::Tx, 0, &later);
    host.close(202, after, 5002, (asked.len(), later.len()));
    let mut records = host.records();
    records.sort_by(|a, b| a.start_time.cmp(&b.start_time));
    let [broken, whole] = records.as_slice() else {
        panic!("{} records", records.len())
    };
    assert_eq!(
        (id(broken), broken.completeness.as_str()),
        ("first", "client_abort")
    );
    assert_eq!(broken.completion_hash, None);
    assert_eq!((id(whole), whole.completeness.as_str()), ("second", "complete"));
}

/// A server of HTTP may refuse what is none and go on with the connection.
#[test]
fn what_a_server_of_models_refused_hides_no_call_behind_it() {
    let (asked, (answer, _)) = (request("one"), response("first"));
    let (open, hidden) = (key(0xa0, 1), key(0xb0, 2));
    let behind = [b"\0\x01 what\r\n".as_slice(), &asked].concat();
    let mut host = Host::new();
    for (conn, client, asked) in [(open, 5001, &asked), (hidden, 5002, &behind)] {
        host.open(101, conn, client);
        host.data(101, conn, Direction::Rx, 0, asked);
        host.data(101, conn, Direction::Tx, 0, &answer);
        host.close(101, conn, client, (asked.len(), answer.len()));
    }
    let records = host.records();
    let clients: Vec<_> = records.iter().map(|record| record.client.port).collect();
    assert_eq!(clients, [Some(5001), Some(5002)]);
}

/// Of a server that was asked for nothing but other things, only the beginning of each read is looked at.
#[test]
fn a_call_to_a_server_that_is_hardly_looked_at_is_declared_and_the_next_is_seen() {
    const OTHER: &[u8] = b"GET /health HTTP/1.1\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    const SEEN: usize = 60;
    let mut host = Host::new();
    let probes = key(0xa0, 1);
    host.open(101, probes, 5001);
    for number in 0..64 {
        host.data(101, probes, Direction::Rx, number * OTHER.len(), OTHER);
        host.data(101, probes, Direction::Tx, number * ANSWER.len(), ANSWER);
    }
    assert_eq!(host.verdict(), Some(Verdict::HeadOnly));
    let (asked, call) = (request("one"), key(0xb0, 2));
    host.open(101, call, 5002);
    host.feed(
        101,
        Body::Data(Data {
            conn: call,
            direction: Direction::Rx,
            eof: false,
            joined: false,
            offset: 0,
            stream_len: asked.len() as u32,
            shortfall: Shortfall::HeadOnly,
            bytes: &asked[..SEEN],
        }),
    );
    assert_eq!(host.verdict(), Some(Verdict::Watch));
    host.close(101, call, 5002, (asked.len(), 0));
    host.settle();
    let missed = host.outputs.iter().filter_map(|output| match output {
        Output::Record { body, .. } => match &**body {
            Record::Gap(gap) => gap.lost_bytes.get("missed").copied(),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(missed.sum::<u64>(), (asked.len() - SEEN) as u64);
}

/// The first call to a new server, of which the request was moved unseen. TCP's numbers show that when the next bytes are
/// received; a unix socket has none, and its answer alone tells. Where nothing was asked, nothing is missing.
#[test]
fn an_answer_to_an_unseen_request_is_declared_of_a_server_that_nobody_knows() {
    let (asked, (answer, _)) = (request("one"), response("first"));
    let late = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n";
    for (family, answer, shows, told) in [
        (AF_INET, &answer[..], true, true),
        (AF_INET, &answer, false, false),
        (AF_UNIX, &answer, false, true),
        (AF_UNIX, late, false, false),
    ] {
        let mut host = Host::new();
        let conn = Conn {
            family,
            ..connection(key(0xa0, 1), 5001, (0, 0))
        };
        host.feed(101, Body::ConnOpen(conn));
        host.data(101, conn.conn, Direction::Tx, 0, answer);
        let unseen = if shows { asked.len() } else { 0 };
        if shows {
            host.feed(
                101,
                Body::Data(Data {
                    conn: conn.conn,
                    direction: Direction::Rx,
                    eof: false,
                    joined: false,
                    offset: 0,
                    stream_len: asked.len() as u32,
                    shortfall: Shortfall::Unseen,
                    bytes: &[],
                }),
            );
        }
        host.close(101, conn.conn, 5001, (unseen, answer.len()));
        let gaps = host.gaps();
        let sum = |name| {
            gaps.iter()
                .filter_map(|gap| gap.lost_bytes.get(name))
                .sum::<u64>()
        };
        let expected = if told {
            (unseen as u64, answer.len() as u64)
        } else {
            (0, 0)
        };
        assert_eq!(
            (sum("missed"), sum("unassigned")),
            expected,
            "{family} {answer:?} {shows}"
        );
    }
}

/// A library that used a connection for one session and then for another, within one answer.
#[test]
fn what_was_open_when_another_session_took_a_connection_is_recorded_as_a_part() {
    let (asked, (answer, cut)) = (request("one"), response("first"));
    let (conn, first, second) = (key(0xa0, 1), key(0x10, 1), key(0x20, 2));
    let mut host = Host::new();
    host.open(101, conn, 5001);
    host.data(101, conn, Direction::Rx, 0, RECORD);
    host.feed(101, tls_socket(first, conn));
    host.feed(101, plain(first, Direction::Rx, &asked));
    host.feed(101, plain(first, Direction::Tx, &answer[..cut]));
    host.feed(101, tls_socket(second, conn));
    host.feed(101, plain(second, Direction::Tx, &answer[cut..]));
    host.close(101, conn, 5001, (0, 0));
    let records = host.records();
    let parts: Vec<_> = records
        .iter()
        .map(|record| (id(record), record.capture.state.as_str()))
        .collect();
    assert_eq!(parts, [("first", "partial")]);
}

/// Each session's exchanges are counted from its own beginning.
#[test]
fn calls_of_two_sessions_on_one_connection_have_names_of_their_own() {
    let (asked, answer) = (request("one"), response("first").0);
    let (conn, sessions) = (key(0xa0, 1), [key(0x10, 1), key(0x20, 2)]);
    let mut host = Host::new();
    host.open(101, conn, 5001);
    host.data(101, conn, Direction::Rx, 0, RECORD);
    for session in sessions {
        host.feed(101, tls_socket(session, conn));
        host.feed(101, plain(session, Direction::Rx, &asked));
        host.feed(101, plain(session, Direction::Tx, &answer));
    }
    host.close(101, conn, 5001, (0, 0));
    let names: BTreeSet<_> = host
        .records()
        .into_iter()
        .map(|record| record.exchange_id)
        .collect();
    assert_eq!(names.len(), 2);
}

/// What a TLS library read has no numbers either.
#[test]
fn an_answer_to_a_request_that_no_probe_saw_is_declared() {
    let (answer, _) = response("first");
    let (conn, session) = (key(0xa0, 1), key(0x10, 1));
    let mut host = Host::new();
    host.open(101, conn, 5001);
    host.data(101, conn, Direction::Rx, 0, RECORD);
    host.feed(101, tls_socket(session, conn));
    host.feed(101, plain(session, Direction::Tx, &answer));
    host.close(101, conn, 5001, (0, 0));
    let gaps = host.gaps();
    let unassigned = gaps.iter().filter_map(|gap| gap.lost_bytes.get("unassigned"));
    assert_eq!(unassigned.sum::<u64>(), answer.len() as u64);
}
