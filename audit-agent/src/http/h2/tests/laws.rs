//! HTTP/2 under the laws that hold for every protocol.

use super::*;
use crate::http::tests::laws::{
    a_gap_invents_nothing, a_prefix_gives_a_prefix, cutting_changes_nothing, every_exchange_ends_once,
};
use proptest::prelude::*;

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
    fn a_gap_never_invents_a_complete_message(step in 0usize..11, from in 0usize..200, len in 1usize..200) {
        a_gap_invents_nothing(&conversation(), (step, from, len))?;
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
        every_exchange_ends_once(&log)?;
        prop_assert!(!connection.pending());
    }
}
