#![no_main]
//! WebSocket: however the frames are cut the same messages come, and the exchange ends once.
use audit_agent::http::{Chunk, Connection, HttpEvent};

const ASK: &[u8] = b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n";

fn run(pieces: &[(bool, u8, Vec<u8>)], cut: usize) -> (u64, Vec<(bool, Vec<u8>)>) {
    let (mut ended, mut messages) = (0, Vec::new());
    let mut count = |event: HttpEvent<'_>| match event {
        HttpEvent::ResponseEnd { .. } => ended += 1,
        HttpEvent::Message { response, binary, data, .. } => {
            assert!(binary || std::str::from_utf8(data).is_ok());
            messages.push((response, data.to_vec()));
        }
        _ => {}
    };
    let mut connection = Connection::new(false);
    connection.push(false, Chunk::Data(ASK), &mut count);
    connection.push(true, Chunk::Data(ANSWER), &mut count);
    for (response, gap, bytes) in pieces {
        for piece in bytes.chunks(cut) {
            connection.push(*response, Chunk::Data(piece), &mut count);
        }
        if *gap > 240 {
            connection.push(*response, Chunk::Gap(u64::from(*gap)), &mut count);
        }
        assert!(connection.buffered_bytes() < 10 << 20);
    }
    connection.close(&mut count);
    (ended, messages)
}

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<(bool, u8, Vec<u8>)>)| {
    let (cut, pieces) = input;
    let whole = run(&pieces, usize::MAX);
    assert_eq!(whole.0, 1);
    assert_eq!(run(&pieces, usize::from(cut) + 1), whole);
});
