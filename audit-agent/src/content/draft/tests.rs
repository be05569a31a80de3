use super::*;
use crate::call::ToolCall;
use proptest::prelude::*;

fn end(state: BodyState, missed_bytes: u64) -> BodyEnd {
    BodyEnd {
        state,
        wire_bytes: 0,
        body_bytes: 77,
        missed_bytes,
        body_sha256: [0; 32],
    }
}

fn draft(prompt: &Value, text: &str) -> Draft {
    Draft {
        prompt: Some(prompt.to_string().into_bytes()),
        part: None,
        choices: vec![Choice {
            text: text.into(),
            tool_calls: vec![ToolCall {
                id: Some("c1".into()),
                name: Some("mail".into()),
                arguments: "{\"to\":\"eve@example.org\"}".into(),
            }],
            ..Choice::default()
        }],
        completion_whole: true,
        request: end(BodyState::Complete, 0),
        response: end(BodyState::Complete, 0),
    }
}

fn parsed(object: &Object) -> Value {
    serde_json::from_slice(&object.json).unwrap()
}

#[test]
fn full_keeps_everything_as_it_was() {
    let prompt = json!([{"role": "user", "content": "I am a@b.co"}]);
    let object = draft(&prompt, "hello").object(Mode::Full, 1000);
    let stored = parsed(&object);
    assert_eq!(stored["prompt"], prompt);
    assert_eq!(stored["completion"][0]["text"], "hello");
    assert_eq!(
        stored["completion"][0]["tool_calls"][0]["arguments"],
        "{\"to\":\"eve@example.org\"}"
    );
    let part = object.content.prompt.unwrap();
    assert_eq!((part.state.as_str(), Some(part.bytes)), ("whole", part.of_bytes));
    assert!(object.content.masked.is_empty());
}

#[test]
fn redacted_masks_prompt_answer_and_tool_arguments_and_counts() {
    let prompt = json!([{"role": "user", "content": "I am a@b.co"}]);
    let object = draft(&prompt, "call +4989123456789").object(Mode::Redacted, 1000);
    let text = String::from_utf8(object.json.clone()).unwrap();
    assert!(
        !text.contains("a@b.co") && !text.contains("eve@") && !text.contains("+4989"),
        "{text}"
    );
    assert_eq!(parsed(&object)["prompt"][0]["content"], "I am [email]");
    let expected = [("email".to_owned(), 2), ("phone".to_owned(), 1)];
    assert_eq!(object.content.masked, expected.into());
}

#[test]
fn what_is_cut_says_how_much_of_how_much_is_stored() {
    let object = draft(&json!("x".repeat(500)), &"ö".repeat(300)).object(Mode::Full, 99);
    let (prompt, completion) = (
        object.content.prompt.clone().unwrap(),
        object.content.completion.clone().unwrap(),
    );
    assert_eq!(
        (prompt.bytes, prompt.of_bytes, prompt.state.as_str()),
        (99, Some(502), "cut")
    );
    assert_eq!(
        (completion.bytes, completion.of_bytes, completion.state.as_str()),
        (99, Some(624), "cut")
    );
    let stored = parsed(&object);
    assert_eq!(stored["prompt"], Value::Null);
    assert_eq!(stored["prompt_text"].as_str().map(str::len), Some(99));
    assert_eq!(stored["completion"][0]["text"], "ö".repeat(49));
}

#[test]
fn what_was_not_seen_whole_is_a_part_with_the_bytes_that_are_missing() {
    let mut draft = draft(&json!("x"), "half an ans");
    draft.prompt = None;
    draft.part = Some(b"{\"messages\":[{\"content\":\"mail a@b.co \xff".to_vec());
    draft.completion_whole = false;
    draft.request = end(BodyState::Gap, 4000);
    draft.response = end(BodyState::Gap, 12);
    let object = draft.object(Mode::Redacted, 1000);
    let (prompt, completion) = (
        object.content.prompt.clone().unwrap(),
        object.content.completion.clone().unwrap(),
    );
    assert_eq!(
        (prompt.state.as_str(), prompt.missed_bytes, prompt.of_bytes),
        ("part", 4000, None)
    );
    assert_eq!(
        (
            completion.state.as_str(),
            completion.missed_bytes,
            completion.of_bytes
        ),
        ("part", 12, None)
    );
    assert!(
        parsed(&object)["prompt_text"]
            .as_str()
            .unwrap()
            .contains("mail [email]")
    );
}

#[test]
fn an_exchange_of_nothing_stores_nothing() {
    let mut draft = draft(&json!("x"), "");
    (draft.prompt, draft.choices) = (None, Vec::new());
    let object = draft.object(Mode::Full, 1000);
    assert_eq!(object.content.state, "empty");
    assert_eq!(
        parsed(&object),
        json!({"completion": null, "prompt": null, "prompt_text": null})
    );
}

proptest! {
    #[test]
    fn it_is_json_and_within_its_limit_whatever_was_said(
        prompt in ".{0,200}", text in ".{0,200}", most in 0usize..300, redact in any::<bool>(), part in any::<bool>(),
    ) {
        let mut draft = draft(&json!([{ "content": prompt.clone() }]), &text);
        if part {
            draft.part = draft.prompt.take();
        }
        let mode = if redact { Mode::Redacted } else { Mode::Full };
        let object = draft.object(mode, most);
        let stored = parsed(&object);
        for (part, kept) in [(&object.content.prompt, &stored["prompt_text"]), (&object.content.completion, &stored["completion"][0]["text"])] {
            let part = part.as_ref().unwrap();
            prop_assert!(part.bytes <= most as u64);
            prop_assert!(part.of_bytes.is_none_or(|of| part.bytes <= of));
            prop_assert!(kept.as_str().is_none_or(|kept| kept.len() as u64 <= part.bytes));
        }
        if mode == Mode::Full && !part {
            let length = serde_json::to_vec(&json!([{ "content": prompt.clone() }])).unwrap().len();
            let whole = (length <= most).then_some(prompt.as_str());
            prop_assert_eq!(stored["prompt"][0]["content"].as_str(), whole);
        }
    }
}
