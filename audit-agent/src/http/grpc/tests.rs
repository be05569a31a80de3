use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::io::Write;

/// What a test compares; losses that follow one another are joined.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen {
    Message(Vec<u8>),
    Lost,
}

#[derive(Default)]
struct Log(Vec<Seen>);

impl Log {
    fn add(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Message(data) => self.0.push(Seen::Message(data.to_vec())),
            Piece::Lost(_) if self.0.last() == Some(&Seen::Lost) => {}
            Piece::Lost(_) => self.0.push(Seen::Lost),
        }
    }
}

fn headers(encoding: &str) -> Headers {
    Headers(vec![("grpc-encoding".into(), encoding.into())])
}

fn message(packed: bool, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(packed)];
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn read(encoding: &str, bytes: &[u8]) -> Vec<Seen> {
    let (mut grpc, mut log) = (Grpc::new(&headers(encoding)), Log::default());
    grpc.push(bytes, &mut |piece| log.add(piece));
    grpc.finish(&mut |piece| log.add(piece));
    log.0
}

fn said(data: &[u8]) -> Seen {
    Seen::Message(data.to_vec())
}

#[test]
fn tells_grpc_by_its_content_type() {
    let of = |kind: &str| Grpc::is(&Headers(vec![("content-type".into(), kind.into())]));
    assert!(of("application/grpc") && of("application/grpc+proto") && of("Application/gRPC; x=y"));
    assert!(!of("application/grpc-web") && !of("application/json") && !Grpc::is(&Headers::default()));
}

#[test]
fn gives_plain_and_compressed_messages() {
    let bytes = [
        message(false, b"ask"),
        message(true, &gzip(b"more")),
        message(false, b""),
    ]
    .concat();
    assert_eq!(read("gzip", &bytes), [said(b"ask"), said(b"more"), said(b"")]);
}

#[test]
fn a_message_that_cannot_be_decoded_costs_no_other() {
    let torn = &gzip(b"a message with an end")[..20];
    for (encoding, bad) in [
        ("gzip", message(true, torn)),
        ("snappy", message(true, b"what")),
        ("identity", message(true, &gzip(b"named nowhere"))),
        ("identity", message(false, &vec![0; limits::BODY_BYTES + 1])),
        ("gzip", message(true, &gzip(&vec![0; limits::BODY_BYTES + 1]))),
    ] {
        let bytes = [bad, message(false, b"next")].concat();
        assert_eq!(read(encoding, &bytes), [Seen::Lost, said(b"next")], "{encoding}");
    }
}

#[test]
fn a_prefix_that_is_none_ends_the_reading() {
    assert_eq!(
        read("identity", &[[7; 5].to_vec(), message(false, b"x")].concat()),
        [Seen::Lost]
    );
}

#[test]
fn bytes_missing_inside_a_message_cost_it_alone() {
    let bytes = message(false, b"torn message");
    let (mut grpc, mut log) = (Grpc::new(&Headers::default()), Log::default());
    grpc.push(&bytes[..8], &mut |piece| log.add(piece));
    grpc.gap(4, &mut |piece| log.add(piece));
    grpc.push(&bytes[12..], &mut |piece| log.add(piece));
    grpc.push(&message(false, b"whole"), &mut |piece| log.add(piece));
    assert_eq!(log.0, [Seen::Lost, said(b"whole")]);
}

fn bodies() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..8)
}

fn wire(bodies: &[(bool, Vec<u8>)]) -> Vec<u8> {
    let message = |(packed, data): &(bool, Vec<u8>)| match packed {
        true => message(true, &gzip(data)),
        false => message(false, data),
    };
    bodies.iter().flat_map(message).collect()
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_messages(bodies in bodies(), cut in 1..20usize) {
        let bytes = wire(&bodies);
        let (mut grpc, mut log) = (Grpc::new(&headers("gzip")), Log::default());
        for piece in bytes.chunks(cut) {
            grpc.push(piece, &mut |piece| log.add(piece));
        }
        grpc.finish(&mut |piece| log.add(piece));
        let expected: Vec<Seen> = bodies.iter().map(|(_, data)| said(data)).collect();
        prop_assert_eq!(log.0, expected);
    }

    #[test]
    fn every_prefix_gives_a_prefix(bodies in bodies(), len in any::<usize>()) {
        let bytes = wire(&bodies);
        let mut seen = read("gzip", &bytes[..len % (bytes.len() + 1)]);
        if seen.last() == Some(&Seen::Lost) {
            seen.pop();
        }
        let expected: Vec<Seen> = bodies.iter().map(|(_, data)| said(data)).collect();
        prop_assert_eq!(&expected[..seen.len()], seen);
    }

    #[test]
    fn a_gap_never_invents_a_message(bodies in bodies(), hole in any::<(usize, u8)>(), known in any::<bool>()) {
        let bytes = wire(&bodies);
        let from = hole.0 % (bytes.len() + 1);
        let to = (from + 1 + usize::from(hole.1)).min(bytes.len());
        let (mut grpc, mut log) = (Grpc::new(&headers("gzip")), Log::default());
        grpc.push(&bytes[..from], &mut |piece| log.add(piece));
        match known {
            true => grpc.gap((to - from) as u64, &mut |piece| log.add(piece)),
            false => grpc.lose(&mut |piece| log.add(piece)),
        }
        grpc.push(&bytes[to..], &mut |piece| log.add(piece));
        grpc.finish(&mut |piece| log.add(piece));
        let mut left = bodies.iter().map(|(_, data)| said(data));
        for seen in log.0.iter().filter(|seen| **seen != Seen::Lost) {
            prop_assert!(left.any(|sent| sent == *seen), "{:?} was not sent", seen);
        }
        prop_assert!(from == to || log.0.contains(&Seen::Lost));
    }

    #[test]
    fn hostile_bytes_hold_little(pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<Option<u32>>()), 0..20)) {
        let mut grpc = Grpc::new(&headers("gzip"));
        for (bytes, gap) in &pieces {
            grpc.push(bytes, &mut |_| {});
            if let Some(gap) = gap {
                grpc.gap(u64::from(*gap), &mut |_| {});
            }
            prop_assert!(grpc.held() <= limits::BODY_BYTES);
        }
    }
}
