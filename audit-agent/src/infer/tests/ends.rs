//! How calls end: errors, streams that stop, clients that hang up.

use super::*;

#[test]
fn an_error_inside_a_stream_is_an_error_though_the_status_is_200() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
            r#"{"error":{"code":500,"message":"boom","type":"server_error"}}"#,
            "[DONE]",
        ]),
    );
    let error = call.error.unwrap();
    assert_eq!(
        (error.kind.as_str(), error.message.as_deref()),
        ("server_error", Some("boom"))
    );
    assert_eq!(call.completion_canonical, None);
}

#[test]
fn a_stream_that_just_stops_has_no_terminator() {
    let call = chat(
        SSE,
        &stream(&[r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#]),
    );
    assert_eq!(call.error.unwrap().kind, "no_terminator");
}

#[test]
fn an_aborted_stream_keeps_its_part_and_has_no_hash() {
    let body = stream(&[r#"{"choices":[{"index":0,"delta":{"content":"part"}}]}"#]);
    let call = decode(CHAT, ASK, 200, SSE, body.as_bytes(), 9, End::Aborted);
    assert_eq!(
        (call.choices[0].text.as_str(), call.completion_canonical),
        ("part", None)
    );
    assert_eq!(call.error.unwrap().kind, "client_abort");
}

#[test]
fn a_client_that_hangs_up_at_the_terminator_has_the_whole_answer() {
    let body = stream(&[
        r#"{"choices":[{"index":0,"delta":{"content":"all"},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let call = decode(CHAT, ASK, 200, SSE, body.as_bytes(), 9, End::Aborted);
    assert_eq!(
        (call.error, call.completion_canonical.as_deref()),
        (None, Some(&b"all"[..]))
    );
}

#[test]
fn refused_requests_say_why() {
    let body = br#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#;
    let call = decode(CHAT, ASK, 401, JSON, body, 100, End::Complete);
    assert_eq!(call.error.unwrap().kind, "authentication_error");
}
