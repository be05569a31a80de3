//! OpenAI text completions: prompts without roles, several in one request.
//!
//! Source: the OpenAI API reference; vLLM `entrypoints/openai/completion/protocol.py`, TGI `router/src/lib.rs`.

use super::answer::Answer;
use super::family::{Event, Family};
use super::{json, openai_chat, request};
use crate::call::Call;
use serde_json::Value;

#[derive(Debug)]
pub struct Completions;

impl Family for Completions {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai_completions", "text_completion")
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        ask(call, body);
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        self::event(call, answer, event)
    }
}

/// A request with one prompt or several, as texts or as token ids.
pub fn ask(call: &mut Call, body: &Value) {
    request::common(call, body);
    call.prompt_canonical = match body.get("suffix").filter(|suffix| !suffix.is_null()) {
        Some(_) => request::canonical_of(body, &["prompt", "suffix"]),
        None => body.get("prompt").and_then(request::canonical),
    };
    call.inputs = inputs(body.get("prompt"));
}

/// How many inputs a member holds: a text is one, and so is a list of token ids.
pub fn inputs(member: Option<&Value>) -> Option<u64> {
    match member? {
        Value::Array(list) if list.iter().all(Value::is_number) => Some(1),
        Value::Array(list) => Some(list.len() as u64),
        Value::Null => None,
        _ => Some(1),
    }
}

pub fn event(call: &mut Call, answer: &mut Answer, event: &Value) -> Event {
    openai_chat::identity(call, event);
    openai_chat::accounts(call, event);
    let mut spoke = false;
    for (position, choice) in json::list(event, "choices").enumerate() {
        let index = json::number(choice, "index").unwrap_or(position as u64);
        spoke |= answer.text(index, json::text(choice, "text").unwrap_or_default());
        logprobs(answer, choice.get("logprobs"));
        openai_chat::finish_reason(answer, index, choice);
    }
    Event::spoke(spoke)
}

/// `{token_logprobs: [f]}`, the chat form, or TGI's bare list.
fn logprobs(answer: &mut Answer, logprobs: Option<&Value>) {
    openai_chat::logprobs(answer, logprobs);
    let listed = logprobs
        .and_then(|logprobs| logprobs.get("token_logprobs"))
        .or(logprobs);
    let numbers = json::elements(listed).filter_map(Value::as_f64);
    numbers.for_each(|logprob| answer.logprob(logprob));
}
