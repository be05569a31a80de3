#![no_main]
//! The HTTP reader: pieces of both directions, with gaps; every request ends once.
use audit_agent::http::{Chunk, Connection, HttpEvent};

libfuzzer_sys::fuzz_target!(|input: (bool, Vec<(bool, u8, Vec<u8>)>)| {
    let (mut begun, mut ended) = (0u64, 0u64);
    let mut count = |event: HttpEvent<'_>| match event {
        HttpEvent::RequestHead { .. } => begun += 1,
        HttpEvent::ResponseEnd { .. } => ended += 1,
        _ => {}
    };
    let mut connection = Connection::new(input.0);
    for (response, gap, bytes) in &input.1 {
        connection.push(*response, Chunk::Data(bytes), &mut count);
        if *gap > 200 {
            connection.push(*response, Chunk::Gap(u64::from(*gap)), &mut count);
        }
    }
    connection.close(&mut count);
    assert_eq!(begun, ended);
});
