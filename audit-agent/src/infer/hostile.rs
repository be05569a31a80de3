//! Bodies that want more than there is: what is kept of them, and what still is read.

use super::*;
use crate::call::TokensSource;
use crate::http::HttpVersion;
use crate::limits;

/// What a socket gives at once.
const PIECE: usize = 64 * 1024;

fn begin(path: &str) -> Box<dyn Decoder> {
    let head = RequestHead {
        method: "POST".into(),
        target: path.into(),
        version: HttpVersion::Http11,
        headers: Headers(vec![("content-type".into(), "application/json".into())]),
    };
    match classify(&head) {
        Classified::Inference(decoder) => decoder,
        other => panic!("{other:?}"),
    }
}

fn answer(decoder: &mut Box<dyn Decoder>, kind: &str) {
    decoder.response(&ResponseHead {
        status: 200,
        version: HttpVersion::Http11,
        headers: Headers(vec![("content-type".into(), kind.into())]),
    });
}

fn asked(path: &str, body: &[u8]) -> Box<dyn Decoder> {
    let mut decoder = begin(path);
    body.chunks(PIECE).for_each(|piece| decoder.request_body(piece));
    decoder.request_end(true);
    decoder
}

fn plain(path: &str, request: &[u8], response: &[u8]) -> Call {
    let mut decoder = asked(path, request);
    answer(&mut decoder, "application/json");
    response
        .chunks(PIECE)
        .for_each(|piece| decoder.response_body(piece, 1));
    decoder.finish(End::Complete)
}

#[test]
fn fifty_megabytes_of_vectors_are_counted_as_they_stream_by() {
    let mut decoder = asked("/v1/embeddings", br#"{"model":"m","input":["a"]}"#);
    answer(&mut decoder, "application/json");
    decoder.response_body(br#"{"object":"list","data":["#, 1);
    let vector = vec!["-0.0123456789"; 1024].join(",");
    let mut bytes = 0;
    for index in 0..3600 {
        let comma = if index > 0 { "," } else { "" };
        let item = format!(r#"{comma}{{"index":{index},"embedding":[{vector}]}}"#);
        bytes += item.len();
        decoder.response_body(item.as_bytes(), 1);
    }
    decoder.response_body(
        br#"],"model":"m1","usage":{"prompt_tokens":7,"total_tokens":7}}"#,
        1,
    );
    let call = decoder.finish(End::Complete);
    assert!(bytes > 50_000_000);
    let results = call.results.unwrap();
    assert_eq!((results.count, results.dimensions), (3600, Some(1024)));
    assert_eq!((call.input_tokens, call.notes.as_slice()), (Some(7), &[][..]));
}

#[test]
fn the_usage_behind_a_text_over_the_cap_is_read_and_nothing_is_hashed() {
    let text = "x".repeat(limits::BODY_BYTES + 1_000_000);
    let body = format!(
        r#"{{"id":"c","choices":[{{"index":0,"message":{{"content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":3,"completion_tokens":9}}}}"#
    );
    let call = plain("/v1/chat/completions", br#"{"messages":[]}"#, body.as_bytes());
    assert_eq!((call.input_tokens, call.output_tokens), (Some(3), Some(9)));
    assert_eq!(
        (call.tokens_source, call.completion_canonical),
        (TokensSource::ServerUsage, None)
    );
    assert_eq!(call.notes, ["response_over_cap"]);
}

#[test]
fn a_request_over_the_cap_has_its_model_and_no_hash_of_a_part() {
    let image = "A".repeat(2 * limits::BODY_BYTES);
    let body = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}],"model":"m","temperature":0}}"#
    );
    let call = plain("/v1/chat/completions", body.as_bytes(), b"{}");
    assert_eq!(
        (call.model_requested.as_deref(), call.prompt_canonical),
        (Some("m"), None)
    );
    assert!(call.notes.contains(&"request_over_cap"));
    let [image] = call.attachments.as_slice() else {
        panic!("{:?}", call.attachments)
    };
    assert_eq!((image.mime.as_deref(), image.sha256), (Some("image/png"), None));
}

#[test]
fn an_image_of_two_megabytes_is_hashed_in_pieces_of_four_kilobytes() {
    use base64::Engine;
    use sha2::{Digest, Sha256};
    let pixels: Vec<u8> = (0..1_500_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let data = base64::engine::general_purpose::STANDARD.encode(&pixels);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{data}"}}}}]}}]}}"#
    );
    let mut decoder = begin("/v1/chat/completions");
    body.as_bytes()
        .chunks(4096)
        .for_each(|piece| decoder.request_body(piece));
    decoder.request_end(true);
    let call = decoder.finish(End::Complete);
    let expected: [u8; 32] = Sha256::digest(&pixels).into();
    assert_eq!(
        (call.attachments[0].bytes, call.attachments[0].sha256),
        (Some(1_500_000), Some(expected))
    );
    assert!(call.prompt_canonical.is_some());
}

#[test]
fn a_line_of_ten_megabytes_costs_itself_and_not_the_stream() {
    let mut decoder = asked("/v1/chat/completions", br#"{"messages":[],"stream":true}"#);
    answer(&mut decoder, "text/event-stream");
    decoder.response_body(b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"", 1);
    (0..160).for_each(|_| decoder.response_body(&[b'x'; PIECE], 1));
    decoder.response_body(
        b"\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        1,
    );
    decoder.response_body(b"data: [DONE]\n\n", 2);
    let call = decoder.finish(End::Complete);
    assert_eq!((call.output_tokens, call.completion_canonical), (Some(2), None));
    assert_eq!(call.notes, ["response_over_cap"]);
}

#[test]
fn endless_choices_and_tool_calls_end_at_their_caps() {
    let choices: String = (0..100_000)
        .map(|n| format!(r#"{{"index":{n},"delta":{{"content":"x"}}}},"#))
        .collect();
    let tools = r#"{"id":"a","function":{"name":"f","arguments":"{}"}},"#.repeat(10_000);
    let mut decoder = asked("/v1/chat/completions", br#"{"messages":[],"stream":true}"#);
    answer(&mut decoder, "text/event-stream");
    for part in choices.as_bytes().chunks(500_000).take(1) {
        let whole = String::from_utf8_lossy(part);
        let whole = whole.rsplit_once(",{\"index").map_or("", |(before, _)| before);
        decoder.response_body(format!("data: {{\"choices\":[{whole}]}}\n\n").as_bytes(), 1);
    }
    let event =
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{tools}{{}}]}}}}]}}\n\n");
    decoder.response_body(event.as_bytes(), 1);
    decoder.response_body(b"data: [DONE]\n\n", 2);
    let call = decoder.finish(End::Complete);
    assert!(call.choices.len() <= limits::CHOICES);
    assert!(
        call.choices
            .iter()
            .all(|choice| choice.tool_calls.len() <= limits::TOOL_CALLS)
    );
    assert!(call.notes.contains(&"completion_over_cap") && call.completion_canonical.is_none());
}

#[test]
fn nesting_without_end_is_no_json() {
    let deep = [&b"{\"choices\":"[..], &b"[".repeat(1_000_000)].concat();
    for path in [
        "/v1/chat/completions",
        "/v1/embeddings",
        "/api/chat",
        "/v2/models/m/infer",
    ] {
        let call = plain(path, &deep, &deep);
        assert_eq!(
            (call.prompt_canonical, call.completion_canonical),
            (None, None),
            "{path}"
        );
        assert!(!call.notes.is_empty(), "{path}");
    }
}
