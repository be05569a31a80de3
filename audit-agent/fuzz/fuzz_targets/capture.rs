#![no_main]
//! Capture files: any bytes behind a good head, through the whole core.
use audit_agent::capture::file::Reader;
use audit_agent::pipeline::{Options, Pipeline};
use audit_agent::record::hash::{Algorithm, Hasher};

libfuzzer_sys::fuzz_target!(|tail: &[u8]| {
    let bytes = [&b"AUDITCAP\x01\0\x01\0\0\0\0\0"[..], tail].concat();
    let mut reader = Reader::new(bytes.as_slice()).expect("a good head");
    let hasher = Hasher::new([0; 32].into(), Algorithm::Sha256);
    let options = Options { content: Default::default(), filter: Default::default(), hasher, heartbeat_ns: 1, verifier_key: String::new() };
    let mut pipeline = Pipeline::new(options);
    let mut outputs = Vec::new();
    while let Ok(Some(input)) = reader.next_input() {
        pipeline.feed(input, &mut outputs);
        outputs.clear();
    }
});
