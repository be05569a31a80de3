#![no_main]
//! The decoder of `/completion`: hostile bodies, plain and streamed, and no hash of a part.
use audit_agent::http::{Headers, RequestHead, ResponseHead};
use audit_agent::infer::{Classified, End, classify};

libfuzzer_sys::fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let target = "/completion".to_owned();
    let head = RequestHead { method: "POST".into(), target, version: Default::default(), headers: Headers::default() };
    let Classified::Inference(mut decoder) = classify(&head) else { panic!("no call") };
    decoder.request_body(&input.1);
    decoder.request_end(true);
    let kind = if input.0 { "text/event-stream" } else { "application/json" };
    let headers = Headers(vec![("content-type".into(), kind.into())]);
    decoder.response(&ResponseHead { status: 200, version: Default::default(), headers });
    decoder.response_body(&input.2, 1);
    assert!(decoder.finish(End::Partial).completion_canonical.is_none());
});
