use super::*;
use crate::call::TokensSource;
use crate::http::{Headers, HttpVersion};
use proptest::prelude::*;

mod ends;

fn head(path: &str) -> RequestHead {
    RequestHead {
        method: "POST".into(),
        target: path.into(),
        version: HttpVersion::Http11,
        headers: Headers::default(),
    }
}

fn answer_head(status: u16, kind: &str) -> ResponseHead {
    let headers = Headers(vec![("content-type".into(), kind.into())]);
    ResponseHead {
        status,
        version: HttpVersion::Http11,
        headers,
    }
}

/// One exchange; the response comes in pieces of `cut` bytes, 10 ns apart.
fn decode(path: &str, request: &str, status: u16, kind: &str, response: &[u8], cut: usize, end: End) -> Call {
    let Classified::Inference(mut decoder) = classify(&head(path)) else {
        panic!("{path} is no call")
    };
    decoder.request_body(request.as_bytes());
    decoder.request_end(true);
    decoder.response(&answer_head(status, kind));
    for (number, piece) in response.chunks(cut).enumerate() {
        decoder.response_body(piece, 1000 + 10 * number as u64);
    }
    decoder.finish(end)
}

const CHAT: &str = "/v1/chat/completions";
const SSE: &str = "text/event-stream";
const JSON: &str = "application/json";
const ASK: &str =
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"user":"ann"}"#;

fn chat(kind: &str, response: &str) -> Call {
    decode(CHAT, ASK, 200, kind, response.as_bytes(), 7, End::Complete)
}

fn stream(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

#[test]
fn a_call_is_one_however_its_path_is_written() {
    for path in [
        "/v1/chat/completion%73",
        "/%76%31/chat/completions/",
        "/v1/chat%2Fcompletions",
    ] {
        assert!(
            matches!(classify(&head(path)), Classified::Inference(_)),
            "{path}"
        );
    }
}

#[test]
fn a_call_is_one_whatever_its_fields_call_it() {
    for kind in [
        "application/grpc",
        "text/plain",
        "multipart/form-data; boundary=x",
    ] {
        let mut head = head(CHAT);
        head.headers = Headers(vec![("content-type".into(), kind.into())]);
        let Classified::Inference(mut decoder) = classify(&head) else {
            panic!("{kind} is no call")
        };
        decoder.request_body(br#"{"model":"m","messages":[{"role":"user","content":"go"}]}"#);
        decoder.request_end(true);
        assert!(decoder.prompt().is_some(), "{kind}");
    }
}

#[test]
fn what_another_spelling_asks_is_not_taken_for_nothing() {
    let body = r#"{"model":"m","Messages":[{"role":"user","content":"go"}]}"#;
    let call = decode(
        "/api/chat",
        body,
        200,
        JSON,
        br#"{"done":true}"#,
        99,
        End::Complete,
    );
    assert!(call.admin.is_none(), "a call to a model, and no loading of it");
    assert!(call.notes.contains(&"request_names_other_case"));
}

#[test]
fn a_streamed_and_a_plain_answer_to_the_same_text_are_alike() {
    let plain = chat(
        JSON,
        r#"{"id":"c1","model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"hello world"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
    );
    let streamed = chat(
        SSE,
        &stream(&[
            r#"{"id":"c1","model":"m1","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"hello"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":" world"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(plain.completion_canonical.as_deref(), Some(&b"hello world"[..]));
    assert_eq!(streamed.completion_canonical, plain.completion_canonical);
    assert_eq!(
        streamed.prompt_canonical.as_deref(),
        Some(&br#"[{"content":"hi","role":"user"}]"#[..])
    );
    for call in [&plain, &streamed] {
        assert_eq!((call.input_tokens, call.output_tokens), (Some(3), Some(2)));
        assert_eq!(call.tokens_source, TokensSource::ServerUsage);
        assert_eq!(call.choices[0].finish_reason.as_deref(), Some("stop"));
        assert_eq!(
            (call.error.as_ref(), call.model_served.as_deref()),
            (None, Some("m1"))
        );
        assert_eq!(call.end_user, Some(("user", "ann".to_owned())));
    }
    assert_eq!((plain.first_token_ns, plain.stream), (None, Some(false)));
    assert_eq!((streamed.chunks, streamed.stream), (2, Some(true)));
    assert!(streamed.first_token_ns > Some(1000), "the role is no token");
}

#[test]
fn without_usage_the_pieces_are_counted_and_it_is_said() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(
        (call.input_tokens, call.output_tokens, call.tokens_source),
        (None, Some(1), TokensSource::CountedChunks)
    );
}

#[test]
fn the_last_of_repeated_usages_wins() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}],"usage":{"prompt_tokens":5,"completion_tokens":1}}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(
        (call.output_tokens, call.completion_canonical.as_deref()),
        (Some(2), Some(&b"ab"[..]))
    );
}

#[test]
fn interleaved_choices_are_kept_apart() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":1,"delta":{"content":"x"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"index":1,"delta":{"content":"y"},"finish_reason":"length"}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"b"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(call.completion_canonical.as_deref(), Some(&br#"["ab","xy"]"#[..]));
    assert_eq!(call.choices[1].finish_reason.as_deref(), Some("length"));
}

#[test]
fn parallel_tool_calls_are_joined_by_index() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":\"\\u"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"00e9\"}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
    );
    let calls = &call.choices[0].tool_calls;
    assert_eq!(
        (calls[0].name.as_deref(), calls[0].arguments.as_str()),
        (Some("f"), r#"{"x":"\u00e9"}"#)
    );
    assert_eq!(
        (calls[1].id.as_deref(), calls[1].arguments.as_str()),
        (Some("b"), "{}")
    );
    assert!(call.first_token_ns.is_some());
}

#[test]
fn tool_calls_of_servers_that_do_not_count_are_told_apart_by_id() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"g","arguments":{"k":1}}}]},"finish_reason":"tool_calls"}]}"#,
            "[DONE]",
        ]),
    );
    let calls = &call.choices[0].tool_calls;
    assert_eq!((calls.len(), calls[1].arguments.as_str()), (2, r#"{"k":1}"#));
}

#[test]
fn reasoning_is_apart_from_the_answer() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"because"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(
        (call.choices[0].reasoning.as_str(), call.choices[0].text.as_str()),
        ("because", "yes")
    );
}

#[test]
fn logprobs_give_confidence_and_leave_out_minus_infinity() {
    let call = chat(
        JSON,
        r#"{"choices":[{"index":0,"message":{"content":"a b"},"finish_reason":"stop","logprobs":{"content":[{"logprob":-1.0},{"logprob":-3.0},{"logprob":-3.4e38}]}}]}"#,
    );
    let confidence = call.confidence.unwrap();
    assert_eq!(
        (confidence.tokens, confidence.mean_logprob, confidence.min_logprob),
        (2, -2.0, -3.0)
    );
}

#[test]
fn done_inside_text_is_text() {
    let call = chat(
        SSE,
        &stream(&[
            r#"{"choices":[{"index":0,"delta":{"content":"data: [DONE]\n\n"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            "[DONE]",
        ]),
    );
    assert_eq!(call.choices[0].text, "data: [DONE]\n\n");
}

#[test]
fn llama_cpp_streams_end_with_stop_true() {
    let body = stream(&[
        r#"{"index":0,"content":"red","tokens":[5],"stop":false}"#,
        r#"{"index":0,"content":" green","stop":false}"#,
        r#"{"index":0,"content":"","stop":true,"stop_type":"limit","model":"tiny","tokens_predicted":2,"tokens_evaluated":4,"generation_settings":{"temperature":0.8,"top_k":40,"samplers":["a"]},"timings":{"cache_n":1,"prompt_n":3,"predicted_n":2}}"#,
    ]);
    let call = decode(
        "/completion",
        r#"{"prompt":"go","n_predict":2,"stream":true}"#,
        200,
        SSE,
        body.as_bytes(),
        11,
        End::Complete,
    );
    assert_eq!(
        (call.completion_canonical.as_deref(), call.error.as_ref()),
        (Some(&b"red green"[..]), None)
    );
    assert_eq!(
        (call.input_tokens, call.output_tokens, call.cached_tokens),
        (Some(4), Some(2), Some(1))
    );
    assert_eq!(call.choices[0].finish_reason.as_deref(), Some("limit"));
    assert_eq!(call.effective_params.len(), 2);
    assert_eq!(call.prompt_canonical.as_deref(), Some(&br#""go""#[..]));
}

#[test]
fn llama_cpp_answers_several_prompts_with_an_array() {
    let body = r#"[{"index":0,"content":"a","stop":true,"tokens_predicted":1,"tokens_evaluated":2},{"index":1,"content":"b","stop":true,"tokens_predicted":1,"tokens_evaluated":3}]"#;
    let call = decode(
        "/completion",
        r#"{"prompt":["x","y"]}"#,
        200,
        JSON,
        body.as_bytes(),
        50,
        End::Complete,
    );
    assert_eq!(call.completion_canonical.as_deref(), Some(&br#"["a","b"]"#[..]));
    assert_eq!((call.input_tokens, call.output_tokens), (Some(5), Some(2)));
}

#[test]
fn other_inference_apis_are_recorded_without_being_read() {
    let request = r#"{"model":"e","input":"x"}"#;
    let call = decode(
        "/v1/systemone",
        request,
        200,
        JSON,
        b"{\"data\":[]}",
        50,
        End::Complete,
    );
    assert_eq!(
        (call.api, call.operation, call.model_requested.as_deref()),
        ("undecoded", "text_completion", Some("e"))
    );
    assert_eq!(call.notes, ["api_not_decoded"]);
}

fn corpus() -> Vec<(&'static str, String)> {
    vec![
        (
            CHAT,
            stream(&[
                r#"{"id":"c","choices":[{"index":0,"delta":{"content":"h\u00e9 \ud83d\ude00"},"logprobs":{"content":[{"logprob":-0.5}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"stop"}]}"#,
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#,
                "[DONE]",
            ]),
        ),
        (
            "/completion",
            stream(&[
                r#"{"content":"a"}"#,
                r#"{"content":"","stop":true,"stop_type":"eos","tokens_predicted":1}"#,
            ]),
        ),
    ]
}

/// The call without what depends on how the stream was cut.
fn timeless(call: Call) -> Call {
    Call {
        first_token_ns: None,
        last_token_ns: None,
        ..call
    }
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_call(which in 0usize..2, cut in 1usize..200) {
        let (path, body) = corpus().swap_remove(which);
        let whole = decode(path, ASK, 200, SSE, body.as_bytes(), body.len(), End::Complete);
        let pieces = decode(path, ASK, 200, SSE, body.as_bytes(), cut, End::Complete);
        prop_assert_eq!(timeless(pieces), timeless(whole));
    }

    #[test]
    fn a_part_never_has_a_completion_hash(which in 0usize..2, keep in 0usize..400) {
        let (path, body) = corpus().swap_remove(which);
        // Without its terminator the answer is a part.
        let part = &body.as_bytes()[..keep.min(body.len() - 20)];
        for end in [End::Partial, End::Aborted] {
            prop_assert_eq!(decode(path, ASK, 200, SSE, part, 13, end).completion_canonical, None);
        }
    }

    #[test]
    fn hostile_bodies_do_no_harm(request in any::<Vec<u8>>(), response in "(data: )?[\\[\\]{}\",:a-z0-9\\\\\n]{0,200}", kind in 0usize..2) {
        let request = String::from_utf8_lossy(&request);
        for path in [CHAT, "/completion", "/v1/embeddings"] {
            decode(path, &request, 200, [SSE, JSON][kind], response.as_bytes(), 5, End::Complete);
        }
    }
}
