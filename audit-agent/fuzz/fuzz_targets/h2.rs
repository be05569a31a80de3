#![no_main]
//! HTTP/2: frames of both directions, with gaps; however they are cut the same events come, and every request ends once.
use audit_agent::http::{Chunk, Connection, HttpEvent};

/// Kind, flags, stream and payload of a frame; a payload may lie about its length by what is left out of it.
type Frame = (u8, u8, u8, Vec<u8>, u8);

fn bytes(frame: &Frame) -> Vec<u8> {
    let (kind, flags, stream, payload, short) = frame;
    let len = payload.len() as u32;
    let mut bytes = len.to_be_bytes()[1..].to_vec();
    bytes.extend([kind % 11, *flags, 0, 0, 0, *stream]);
    bytes.extend(&payload[..payload.len().saturating_sub(usize::from(short / 128))]);
    bytes
}

fn run(joined: bool, pieces: &[(bool, Frame, u8)], cut: usize) -> (u64, u64, Vec<u8>) {
    let (mut begun, mut ended, mut bodies) = (0, 0, Vec::new());
    let mut count = |event: HttpEvent<'_>| match event {
        HttpEvent::RequestHead { .. } => begun += 1,
        HttpEvent::ResponseEnd { .. } => ended += 1,
        HttpEvent::RequestBody { data, .. } | HttpEvent::ResponseBody { data, .. } => bodies.extend(data),
        HttpEvent::Message { data, .. } => bodies.extend(data),
        _ => {}
    };
    let mut connection = Connection::new(joined);
    if !joined {
        connection.push(false, Chunk::Data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &mut count);
    }
    for (response, frame, gap) in pieces {
        for piece in bytes(frame).chunks(cut) {
            connection.push(*response, Chunk::Data(piece), &mut count);
        }
        if *gap > 240 {
            connection.push(*response, Chunk::Gap(u64::from(*gap)), &mut count);
        }
        assert!(connection.buffered_bytes() < 64 << 20);
    }
    connection.close(&mut count);
    (begun, ended, bodies)
}

libfuzzer_sys::fuzz_target!(|input: (bool, u8, Vec<(bool, Frame, u8)>)| {
    let (joined, cut, pieces) = input;
    let whole = run(joined, &pieces, usize::MAX);
    assert_eq!(whole.0, whole.1);
    assert_eq!(run(joined, &pieces, usize::from(cut) + 1), whole);
});
