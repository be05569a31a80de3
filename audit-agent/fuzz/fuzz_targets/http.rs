#![no_main]
//! The HTTP reader: pieces of both directions, with gaps, ends and upgrades; every request ends once, and so does its answer.
//!
//! An input is a byte that says whether the connection was joined, then pieces behind 0xff and a byte of [`RESPONSE`], [`GAP`]
//! and [`EOF`] each, so that what is in `seeds/http` is HTTP that can be read.
use audit_agent::http::{Chunk, Connection, HttpEvent};
use std::collections::BTreeMap;

/// The piece is the server's.
const RESPONSE: u8 = 1;
/// Bytes are missing behind it.
const GAP: u8 = 2;
/// Its direction ends behind it.
const EOF: u8 = 4;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((joined, steps)) = input.split_first() else {
        return;
    };
    // Ends of the request and of the response of each exchange that has begun.
    let mut exchanges: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
    let mut count = |event: HttpEvent<'_>| match event {
        HttpEvent::RequestHead { exchange, .. } => assert!(exchanges.insert(exchange, (0, 0)).is_none()),
        HttpEvent::RequestEnd { exchange, .. } => exchanges.get_mut(&exchange).expect("it has begun").0 += 1,
        HttpEvent::ResponseEnd { exchange, .. } => exchanges.get_mut(&exchange).expect("it has begun").1 += 1,
        _ => {}
    };
    let mut connection = Connection::new(joined & 1 != 0);
    for step in steps.split(|byte| *byte == 0xff) {
        let Some((flags, bytes)) = step.split_first() else {
            continue;
        };
        let response = flags & RESPONSE != 0;
        connection.push(response, Chunk::Data(bytes), &mut count);
        if flags & GAP != 0 {
            connection.push(response, Chunk::Gap(u64::from(*flags)), &mut count);
        }
        if flags & EOF != 0 {
            connection.push(response, Chunk::Eof, &mut count);
        }
    }
    connection.close(&mut count);
    assert!(!connection.pending());
    assert!(exchanges.values().all(|ends| *ends == (1, 1)), "{exchanges:?}");
});
