//! What an independent encoder sent, in the form of the public HPACK test cases (github.com/http2jp/hpack-test-case):
//! blocks of one direction as hexadecimal digits, and the fields that they are.

use super::*;
use serde_json::Value;

const STORIES: [&str; 3] = [
    include_str!("../../../../../testdata/hpack/requests.json"),
    include_str!("../../../../../testdata/hpack/requests-changing-table.json"),
    include_str!("../../../../../testdata/hpack/responses-small-table.json"),
];

/// Blocks and their fields.
fn cases(story: &str) -> Vec<(Vec<u8>, Fields)> {
    let story: Value = serde_json::from_str(story).unwrap();
    let case = |case: &Value| {
        let field = |field: &Value| {
            let (name, value) = field.as_object().unwrap().iter().next().unwrap();
            (
                name.clone().into_bytes(),
                value.as_str().unwrap().as_bytes().to_vec(),
            )
        };
        let sent = case["headers"].as_array().unwrap().iter().map(field).collect();
        (bytes(case["wire"].as_str().unwrap()), sent)
    };
    story["cases"].as_array().unwrap().iter().map(case).collect()
}

#[test]
fn decodes_the_stories_of_an_independent_encoder() {
    for story in STORIES {
        let mut hpack = Hpack::new(false);
        for (block, sent) in cases(story) {
            let block = hpack.decode(&block).unwrap();
            assert_eq!((block.fields, block.unknown), (sent, 0));
        }
    }
}

#[test]
fn a_reader_that_comes_late_to_a_story_counts_what_it_does_not_know() {
    let mut unknown = 0;
    for story in STORIES.map(cases) {
        for late in 1..story.len() {
            let mut hpack = Hpack::new(true);
            for (block, sent) in story.iter().skip(late) {
                let block = hpack.decode(block).unwrap();
                let mut left = sent.iter();
                assert!(block.fields.iter().all(|field| left.any(|sent| sent == field)));
                assert_eq!(block.fields.len() as u64 + block.unknown, sent.len() as u64);
                unknown += block.unknown;
            }
        }
    }
    assert!(unknown > 50, "a late reader has to miss something");
}
