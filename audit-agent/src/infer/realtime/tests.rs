use super::*;
use crate::http::{Headers, HttpVersion};
use serde_json::json;

fn session() -> Box<dyn Decoder> {
    Realtime::decoder(&RequestHead {
        method: "GET".into(),
        target: "/v1/realtime?model=gpt-realtime".into(),
        version: HttpVersion::Http11,
        headers: Headers::default(),
    })
}

fn say(decoder: &mut Box<dyn Decoder>, from: Side, time_ns: u64, event: &Value) {
    let text = event.to_string();
    decoder.message(Message {
        from,
        binary: false,
        data: text.as_bytes(),
        time_ns,
    });
}

fn ask(decoder: &mut Box<dyn Decoder>, time_ns: u64, text: &str) {
    let item = json!({"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]});
    say(
        decoder,
        Side::Client,
        time_ns,
        &json!({"type": "conversation.item.create", "item": item}),
    );
    say(
        decoder,
        Side::Client,
        time_ns + 1,
        &json!({"type": "response.create"}),
    );
    say(
        decoder,
        Side::Server,
        time_ns + 2,
        &json!({"type": "response.created", "response": {"id": "resp_1"}}),
    );
}

fn answer(decoder: &mut Box<dyn Decoder>, time_ns: u64, text: &str) {
    let delta = json!({"type": "response.output_audio_transcript.delta", "delta": text});
    say(decoder, Side::Server, time_ns, &delta);
    let content = json!([{"type": "output_audio", "transcript": text}]);
    let response = json!({"id": "resp_1", "object": "realtime.response", "status": "completed",
        "output": [{"type": "message", "role": "assistant", "content": content}],
        "usage": {"total_tokens": 9, "input_tokens": 7, "output_tokens": 2, "input_token_details": {"cached_tokens": 3}}});
    say(
        decoder,
        Side::Server,
        time_ns + 1,
        &json!({"type": "response.done", "response": response}),
    );
}

#[test]
fn each_response_of_a_session_is_a_call() {
    let mut decoder = session();
    say(
        &mut decoder,
        Side::Server,
        1,
        &json!({"type": "session.created", "session": {"model": "gpt-realtime-1"}}),
    );
    let session = json!({"instructions": "be brief", "tools": [{"type": "function", "name": "f"}]});
    say(
        &mut decoder,
        Side::Client,
        2,
        &json!({"type": "session.update", "session": session}),
    );
    for (time_ns, text) in [(10, "one"), (20, "two")] {
        ask(&mut decoder, time_ns, text);
        answer(&mut decoder, time_ns + 5, text);
        let ended = decoder.calls();
        let [ended] = ended.as_slice() else {
            panic!("{ended:?}")
        };
        let call = &ended.call;
        assert_eq!(call.completion_canonical.as_deref(), Some(text.as_bytes()));
        assert_eq!(
            (call.input_tokens, call.output_tokens, call.cached_tokens),
            (Some(7), Some(2), Some(3))
        );
        assert_eq!(
            (ended.asked_ns, call.first_token_ns),
            (time_ns + 1, Some(time_ns + 5))
        );
        assert_eq!(
            (call.tools_offered, call.model_served.as_deref()),
            (1, Some("gpt-realtime-1"))
        );
        assert!(String::from_utf8_lossy(call.prompt_canonical.as_deref().unwrap()).contains(text));
    }
    assert!(!decoder.has_call());
}

#[test]
fn a_session_that_ends_inside_a_response_has_a_call_left() {
    let mut decoder = session();
    ask(&mut decoder, 1, "hi");
    say(
        &mut decoder,
        Side::Server,
        5,
        &json!({"type": "response.output_text.delta", "delta": "he"}),
    );
    assert!(decoder.has_call());
    let call = decoder.finish(End::Aborted);
    assert_eq!(
        (call.choices[0].text.as_str(), call.error.unwrap().kind.as_str()),
        ("he", "client_abort")
    );
    assert_eq!(call.completion_canonical, None);
}

#[test]
fn halves_of_a_character_in_two_events_are_one() {
    let mut decoder = session();
    ask(&mut decoder, 1, "hi");
    for (time_ns, half) in [(5, "\\ud83d"), (6, "\\ude00")] {
        let event = format!(r#"{{"type":"response.output_text.delta","delta":"{half}"}}"#);
        decoder.message(Message {
            from: Side::Server,
            binary: false,
            data: event.as_bytes(),
            time_ns,
        });
    }
    let call = decoder.finish(End::Aborted);
    assert_eq!(call.choices[0].text, "\u{1f600}");
}

#[test]
fn a_lost_message_leaves_no_hash() {
    let mut decoder = session();
    ask(&mut decoder, 1, "hi");
    decoder.message_lost(Side::Server);
    answer(&mut decoder, 5, "hello");
    let ended = decoder.calls();
    assert_eq!(
        (ended[0].end, &ended[0].call.completion_canonical),
        (End::Partial, &None)
    );
}

#[test]
fn a_response_that_failed_says_why() {
    let mut decoder = session();
    ask(&mut decoder, 1, "hi");
    let details =
        json!({"type": "failed", "error": {"type": "server_error", "code": "x", "message": "it broke"}});
    let response = json!({"status": "failed", "status_details": details, "output": []});
    say(
        &mut decoder,
        Side::Server,
        9,
        &json!({"type": "response.done", "response": response}),
    );
    let ended = decoder.calls();
    assert_eq!(
        ended[0].call.error.as_ref().unwrap().message.as_deref(),
        Some("it broke")
    );
}

#[test]
fn a_session_in_which_nothing_was_asked_is_a_record_of_its_own() {
    let mut decoder = session();
    decoder.message(Message {
        from: Side::Client,
        binary: false,
        data: b"nope",
        time_ns: 1,
    });
    let call = decoder.finish(End::Complete);
    assert_eq!(
        (call.operation, call.notes.as_slice()),
        ("session", &["message_not_json"][..])
    );
}
