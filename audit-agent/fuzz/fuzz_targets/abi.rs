#![no_main]
//! Ring-buffer bytes never panic the decoder.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = audit_common::decode::Event::parse(bytes);
});
