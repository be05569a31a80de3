#![no_main]
//! HPACK: blocks of one direction, some of them missed; what a late reader says was said by one that saw everything.
use audit_agent::http::hpack::Hpack;

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<Vec<u8>>)| {
    let (missed, blocks) = input;
    let (mut whole, mut late) = (Hpack::new(false), Hpack::new(true));
    for (at, block) in blocks.iter().enumerate() {
        let Ok(fields) = whole.decode(block) else { return };
        assert!(whole.size() <= 64 * 1024);
        if at < usize::from(missed % 8) {
            continue;
        }
        // A reader that comes late knows fewer fields, and none that were not sent.
        let Ok(part) = late.decode(block) else { panic!("a late reader refused a block") };
        let mut sent = fields.fields.iter();
        assert!(part.fields.iter().all(|field| sent.any(|other| other == field)) || fields.over_cap);
    }
});
