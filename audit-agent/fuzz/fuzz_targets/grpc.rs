#![no_main]
//! gRPC messages: however a body is cut, the same come out.
use audit_agent::http::Headers;
use audit_agent::http::grpc::{Grpc, Piece};

fn messages(encoding: &str, pieces: &[(Vec<u8>, u8)], cut: usize) -> Vec<Vec<u8>> {
    let headers = Headers(vec![("grpc-encoding".into(), encoding.into())]);
    let (mut grpc, mut out) = (Grpc::new(&headers), Vec::new());
    let mut each = |piece: Piece<'_>| {
        if let Piece::Message(data) = piece {
            out.push(data.to_vec());
        }
    };
    for (bytes, gap) in pieces {
        bytes.chunks(cut).for_each(|piece| grpc.push(piece, &mut each));
        match gap {
            0..200 => {}
            255 => grpc.lose(&mut each),
            gap => grpc.gap(u64::from(*gap), &mut each),
        }
        assert!(grpc.held() <= 4 << 20);
    }
    grpc.finish(&mut each);
    out
}

libfuzzer_sys::fuzz_target!(|input: (bool, u8, Vec<(Vec<u8>, u8)>)| {
    let (packed, cut, pieces) = input;
    let encoding = if packed { "gzip" } else { "deflate" };
    let whole = messages(encoding, &pieces, usize::MAX);
    assert_eq!(messages(encoding, &pieces, usize::from(cut) + 1), whole);
});
