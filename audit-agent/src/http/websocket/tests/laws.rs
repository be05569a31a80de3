//! WebSocket messages under the laws of cutting and of holes.

use super::*;
use proptest::prelude::*;

/// One message as its sender frames it: content, binary, packed, where it is cut, mask.
type Sent = (Vec<u8>, bool, bool, Vec<usize>, Option<[u8; 4]>);

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let content = prop_oneof![
        "[a-z \u{e4}]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300)
    ];
    let cuts = prop::collection::vec(0..300usize, 0..3);
    prop::collection::vec(
        (
            content,
            any::<bool>(),
            any::<bool>(),
            cuts,
            any::<Option<[u8; 4]>>(),
        ),
        0..8,
    )
}

/// The bytes on the wire, and the messages that they are.
fn wire(messages: &[Sent]) -> (Vec<u8>, Vec<Seen>) {
    let (mut packer, mut bytes, mut expected) = (Packer::new(true), Vec::new(), Vec::new());
    for (content, binary, packed, cuts, mask) in messages {
        let binary = *binary || std::str::from_utf8(content).is_err();
        let mut rest = if *packed {
            packer.pack(content)
        } else {
            content.clone()
        };
        let mut first = if binary { BINARY } else { TEXT } | if *packed { PACKED } else { 0 };
        for cut in cuts {
            let tail = rest.split_off(rest.len().min(*cut));
            bytes.extend(frame(first, *mask, &rest));
            bytes.extend(frame(FIN | PING, *mask, b"ping"));
            (rest, first) = (tail, 0);
        }
        bytes.extend(frame(FIN | first, *mask, &rest));
        expected.push(Seen::Message(true, binary, content.clone()));
    }
    (bytes, expected)
}

/// Cuts `bytes` at `cuts` and leaves out what `hole` says.
fn feed(bytes: &[u8], cuts: &[usize], hole: Option<(usize, usize)>) -> Log {
    let (mut connection, mut log) = (connected("permessage-deflate"), Log::default());
    let (from, to) = hole.map_or((bytes.len(), bytes.len()), |(from, len)| {
        let from = from.min(bytes.len());
        (from, from.saturating_add(len).min(bytes.len()))
    });
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, from, to, bytes.len()]);
    at.sort_unstable();
    for pair in at.windows(2) {
        let (start, end) = (pair[0], pair[1]);
        if start >= from && end <= to && start < end {
            connection.push(true, Chunk::Gap((end - start) as u64), &mut |event| {
                log.add(&event)
            });
        } else {
            push(&mut connection, &mut log, true, &bytes[start..end]);
        }
        assert!(connection.buffered_bytes() <= limits::BODY_BYTES + 1024);
    }
    connection.close(&mut |event| log.add(&event));
    log
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_messages(messages in sent(), cuts in prop::collection::vec(any::<usize>(), 0..20)) {
        let (bytes, mut expected) = wire(&messages);
        let log = feed(&bytes, &cuts, None);
        prop_assert_eq!(log.wire_bytes, bytes.len() as u64);
        expected.push(Seen::End(Aborted));
        prop_assert_eq!(log.seen, expected);
    }

    #[test]
    fn every_prefix_gives_a_prefix(messages in sent(), len in any::<usize>()) {
        let (bytes, expected) = wire(&messages);
        let part = &bytes[..len % (bytes.len() + 1)];
        let mut seen = feed(part, &[], None).seen;
        seen.retain(|seen| matches!(seen, Seen::Message(..)));
        prop_assert_eq!(&expected[..seen.len()], seen);
    }

    #[test]
    fn a_gap_never_invents_a_message(messages in sent(), hole in any::<(u16, u8)>(), cuts in prop::collection::vec(any::<usize>(), 0..9)) {
        let (bytes, expected) = wire(&messages);
        let hole = (usize::from(hole.0) % (bytes.len() + 1), usize::from(hole.1));
        let log = feed(&bytes, &cuts, Some(hole));
        let mut left = expected.iter();
        for seen in log.seen.iter().filter(|seen| matches!(seen, Seen::Message(..))) {
            prop_assert!(left.any(|sent| sent == seen), "{:?} was not sent", seen);
        }
        let torn = hole.1 > 0 && hole.0 < bytes.len();
        if torn {
            prop_assert_eq!(log.seen.last(), Some(&Seen::End(Gap)));
        }
    }

    #[test]
    fn hostile_bytes_end_the_exchange_once_and_hold_little(
        pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80), any::<Option<u8>>()), 0..30)
    ) {
        let (mut connection, mut log) = (connected("permessage-deflate"), Log::default());
        for (response, bytes, gap) in &pieces {
            push(&mut connection, &mut log, *response, bytes);
            if let Some(gap) = gap {
                connection.push(*response, Chunk::Gap(u64::from(*gap) << 32), &mut |event| log.add(&event));
            }
            prop_assert!(connection.buffered_bytes() <= 2 * limits::BODY_BYTES);
        }
        connection.close(&mut |event| log.add(&event));
        let ends = log.seen.iter().filter(|seen| matches!(seen, Seen::End(_))).count();
        prop_assert_eq!(ends, 1);
    }
}
