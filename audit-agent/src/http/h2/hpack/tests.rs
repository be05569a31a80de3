mod stories;

use super::*;
use proptest::prelude::*;

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 7541 appendices C.3 and C.4: the same requests without and with the Huffman code.
const REQUESTS: [[&str; 3]; 2] = [
    [
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
    ],
    [
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828684be5886a8eb10649cbf",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
    ],
];

/// Appendix C.6: responses with a table of 256 bytes, from which fields are evicted.
const RESPONSES: [&str; 3] = [
    "3fe101488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
    "4883640effc1c0bf",
    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
];

fn third_request() -> Fields {
    fields(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ])
}

#[test]
fn decodes_the_requests_of_the_rfc() {
    for requests in REQUESTS {
        let mut hpack = Hpack::new(false);
        let mut last = Block::default();
        for request in requests {
            last = hpack.decode(&bytes(request)).unwrap();
        }
        assert_eq!((last.fields, last.unknown), (third_request(), 0));
    }
}

#[test]
fn decodes_the_responses_of_the_rfc_and_evicts_as_their_sender_does() {
    let mut hpack = Hpack::new(false);
    let mut all = RESPONSES.map(|response| hpack.decode(&bytes(response)).unwrap().fields);
    assert_eq!(all[1][0], fields(&[(":status", "307")])[0]);
    assert_eq!(hpack.size(), 215, "what the RFC says the table holds");
    let cookie = all[2].pop().unwrap();
    assert_eq!(
        cookie.1,
        b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    );
}

#[test]
fn a_late_reader_resolves_what_it_saw_and_says_what_it_did_not() {
    let mut hpack = Hpack::new(true);
    let second = hpack.decode(&bytes(REQUESTS[1][1])).unwrap();
    assert_eq!(second.unknown, 1, ":authority was inserted before");
    let third = hpack.decode(&bytes(REQUESTS[1][2])).unwrap();
    assert_eq!(third.unknown, 1);
    assert!(
        third
            .fields
            .contains(&(b"custom-key".to_vec(), b"custom-value".to_vec()))
    );
    assert_eq!(third.fields[1..3], third_request()[1..3]);
}

#[test]
fn a_field_whose_name_is_older_keeps_its_place_among_the_insertions() {
    let mut hpack = Hpack::new(true);
    // Literals with indexing: one with a name by the index 70, then one that is spelled out.
    assert_eq!(hpack.decode(b"\x7f\x07\x01v").unwrap().unknown, 1);
    hpack.decode(b"\x40\x01n\x01w").unwrap();
    let block = hpack.decode(b"\xbe\xbf").unwrap();
    assert_eq!((block.fields, block.unknown), (fields(&[("n", "w")]), 1));
}

#[test]
fn a_table_that_its_sender_empties_is_known_again() {
    let mut hpack = Hpack::new(true);
    assert_eq!(hpack.decode(b"\xbe").unwrap().unknown, 1);
    assert_eq!(
        hpack.decode(b"\x20\x3f\xe1\x1f\xbe"),
        Err("field index without a field")
    );
}

#[test]
fn a_bomb_gives_no_more_than_its_caps() {
    let mut hpack = Hpack::new(false);
    let mut insert = b"\x40\x01n\x7f\x80\x1e".to_vec();
    insert.resize(insert.len() + 127 + 0x1e * 128, b'v');
    hpack.decode(&insert).unwrap();
    let block = hpack.decode(&vec![0xbe; 100_000]).unwrap();
    assert!(block.over_cap);
    let kept: usize = block
        .fields
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    assert!(kept <= limits::HTTP_HEAD_BYTES && block.fields.len() <= limits::HTTP_HEADERS);
}

#[test]
fn a_table_larger_than_its_cap_is_kept_in_part() {
    let mut hpack = Hpack::new(false);
    // The sender's table has 2^28 bytes.
    hpack.decode(b"\x3f\xe1\xff\xff\x7f").unwrap();
    for _ in 0..100 {
        let mut insert = b"\x40\x01n\x7f\x80\x1e".to_vec();
        insert.resize(insert.len() + 127 + 0x1e * 128, b'v');
        hpack.decode(&insert).unwrap();
        assert!(hpack.size() <= limits::HPACK_TABLE_BYTES);
    }
    assert_eq!(
        hpack.decode(b"\xff\x10").unwrap().unknown,
        1,
        "the sender still has it"
    );
}

fn field_lists() -> impl Strategy<Value = Vec<Fields>> {
    let name = prop_oneof![
        Just(":path".to_owned()),
        Just("content-type".to_owned()),
        "[a-z]{1,6}",
        "x-[a-z]{1,3}",
    ];
    let value = prop_oneof!["[ -~]{0,12}", "[ -~]{0,200}", Just("application/grpc".to_owned())];
    let field = (name, value).prop_map(|(name, value)| (name.into_bytes(), value.into_bytes()));
    proptest::collection::vec(proptest::collection::vec(field, 0..8), 1..30)
}

fn index(lists: &[Fields]) -> Vec<Vec<u8>> {
    let mut encoder = indexing::Indexing::default();
    let mut encode = |list: &Fields| {
        let borrowed = list
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        encoder.encode(borrowed)
    };
    lists.iter().map(&mut encode).collect()
}

fn encode(lists: &[Fields]) -> Vec<Vec<u8>> {
    let mut encoder = loona_hpack::Encoder::new();
    let encode = |list: &Fields| {
        let borrowed = list
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()));
        encoder.encode(borrowed)
    };
    lists.iter().map(encode).collect()
}

proptest! {
    #[test]
    fn decodes_what_another_implementation_encodes(lists in field_lists()) {
        let mut hpack = Hpack::new(false);
        for (list, block) in lists.iter().zip(encode(&lists)) {
            let decoded = hpack.decode(&block).unwrap();
            prop_assert_eq!(&decoded.fields, list);
            prop_assert_eq!(decoded.unknown, 0);
        }
        let (mut hpack, mut other) = (Hpack::new(false), loona_hpack::Decoder::new());
        for block in index(&lists) {
            prop_assert_eq!(hpack.decode(&block).unwrap().fields, other.decode(&block).unwrap());
        }
    }

    #[test]
    fn a_late_reader_never_gives_a_field_that_was_not_sent(lists in field_lists(), late in 0usize..30) {
        let mut hpack = Hpack::new(true);
        for (list, block) in lists.iter().zip(index(&lists)).skip(late) {
            let decoded = hpack.decode(&block).unwrap();
            prop_assert_eq!(decoded.fields.len() as u64 + decoded.unknown, list.len() as u64);
            let mut sent = list.iter();
            for field in &decoded.fields {
                prop_assert!(sent.any(|other| other == field), "{:?} is not of {:?}", field, list);
            }
        }
    }

    #[test]
    fn hostile_blocks_are_read_as_another_implementation_reads_them(
        blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
    ) {
        let mut hpack = Hpack::new(false);
        let mut other = loona_hpack::Decoder::new();
        for block in &blocks {
            let ours = hpack.decode(block).map(|block| block.fields);
            prop_assert!(hpack.size() <= limits::HPACK_TABLE_BYTES);
            let Ok(theirs) = other.decode(block) else { break };
            // What the other refuses may still be readable for somebody who only listens; not the other way.
            prop_assert_eq!(ours.unwrap(), theirs);
        }
    }
}
