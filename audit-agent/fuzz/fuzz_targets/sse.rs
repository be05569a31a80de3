#![no_main]
//! Server-sent events: however they are cut, the same events come out.
use audit_agent::http::sse::Sse;

fn events(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
    let (mut sse, mut out) = (Sse::default(), Vec::new());
    pieces.iter().for_each(|piece| sse.push(piece, |data| out.push(data.to_vec())));
    sse.finish(|data| out.push(data.to_vec()));
    out
}

libfuzzer_sys::fuzz_target!(|input: (u8, Vec<u8>)| {
    let (head, tail) = input.1.split_at(usize::from(input.0).min(input.1.len()));
    assert_eq!(events(&[head, tail]), events(&[&input.1]));
});
