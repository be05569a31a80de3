//! OpenAI chat completions, as every server of small models speaks them.
//!
//! Source: the OpenAI API reference and the servers' own code; members that only one server has are read where
//! they are and asked of nobody.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, parts, request};
use crate::call::Call;
use serde_json::Value;

#[derive(Debug)]
pub struct OpenAiChat;

impl Family for OpenAiChat {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai_chat", "chat")
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::read(call, body, "messages");
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event {
        identity(call, event);
        accounts(call, event);
        let mut spoke = false;
        for (position, choice) in json::list(event, "choices").enumerate() {
            let index = json::number(choice, "index").unwrap_or(position as u64);
            let members = if streamed {
                ["delta", "message"]
            } else {
                ["message", "delta"]
            };
            if let Some(message) = members.iter().find_map(|name| choice.get(*name)) {
                spoke |= self::message(call, answer, index, message);
            }
            logprobs(answer, choice.get("logprobs"));
            finish_reason(answer, index, choice);
        }
        Event::spoke(spoke)
    }

    fn finish(&mut self, call: &mut Call, answer: &mut Answer) {
        if call.provider == Some("llama_cpp") && call.stream == Some(false) && answer.choices() > 1 {
            call.note("usage_of_first_choice_only");
        }
    }
}

/// Who answered: the same members in all of OpenAI's APIs.
pub fn identity(call: &mut Call, event: &Value) {
    let fill = |field: &mut Option<String>, name: &str| {
        if field.is_none() {
            *field = json::word_of(event, name);
        }
    };
    fill(&mut call.response_id, "id");
    fill(&mut call.model_served, "model");
    fill(&mut call.system_fingerprint, "system_fingerprint");
    if call.system_fingerprint.as_deref() == Some("fp_ollama") {
        call.provider = Some("ollama");
    }
}

/// What it took, in the members that servers have beside each other.
pub fn accounts(call: &mut Call, event: &Value) {
    if let Some(usage) = event.get("usage") {
        answer::usage(call, usage);
    }
    if let Some(timings) = event.get("timings") {
        answer::timings(call, timings);
    }
    // vLLM, where it is asked to measure.
    if let Some(metrics) = event.get("metrics").filter(|metrics| metrics.is_object()) {
        for (name, member) in [
            ("time_to_first_token_ms", "first_token"),
            ("generation_time_ms", "generation"),
            ("queue_time_ms", "queue"),
        ] {
            answer::timed(call, member, json::micros(metrics, name, 1e3));
        }
    }
    // LM Studio's own paths.
    if let Some(stats) = event.get("stats").filter(|stats| stats.is_object()) {
        answer::timed(
            call,
            "first_token",
            json::micros(stats, "time_to_first_token", 1e6),
        );
        answer::timed(call, "generation", json::micros(stats, "generation_time", 1e6));
        call.provider = call.provider.or(Some("lm_studio"));
    }
}

/// An empty reason is none yet.
pub fn finish_reason(answer: &mut Answer, index: u64, choice: &Value) {
    if let Some(reason) = json::text(choice, "finish_reason").filter(|reason| !reason.is_empty()) {
        answer.finish_reason(index, reason);
    }
}

/// A message or a delta of one; true when the model said something in it.
fn message(call: &mut Call, answer: &mut Answer, index: u64, message: &Value) -> bool {
    let mut spoke = match message.get("content") {
        Some(Value::String(text)) => answer.text(index, text),
        Some(Value::Array(list)) => list
            .iter()
            .fold(false, |any, part| content(answer, index, part) | any),
        // An answer that is only a tool call has a text too: the empty one.
        _ => answer.text(index, ""),
    };
    if let Some(refusal) = json::text(message, "refusal") {
        spoke |= answer.text(index, refusal);
    }
    for name in ["reasoning_content", "reasoning"] {
        if let Some(text) = json::text(message, name) {
            spoke |= answer.reasoning(index, text);
            break;
        }
    }
    if let Some(audio) = message.get("audio").filter(|audio| audio.is_object()) {
        spoke |= answer.text(index, json::text(audio, "transcript").unwrap_or_default());
        if let Some(data) = json::text(audio, "data") {
            parts::inline(call, "audio", "response", None, data);
        }
    }
    match message.get("tool_calls") {
        Some(Value::Array(calls)) => calls
            .iter()
            .for_each(|call| spoke |= answer.tool_call(index, call)),
        Some(call @ Value::Object(_)) => spoke |= answer.tool_call(index, call),
        _ => {}
    }
    if let Some(call @ Value::Object(_)) = message.get("function_call") {
        spoke |= answer.tool_call(index, call);
    }
    spoke
}

/// One part of a content: a text, or reasoning as Mistral's servers write it.
fn content(answer: &mut Answer, index: u64, part: &Value) -> bool {
    let thought = json::list(part, "thinking").filter_map(|inner| json::text(inner, "text"));
    let thought: String = thought.collect();
    let reasoned = !thought.is_empty() && answer.reasoning(index, &thought);
    let said = json::text(part, "text").is_some_and(|text| answer.text(index, text));
    reasoned | said
}

/// `{content: [{logprob}]}`; one server sends a bare object in a stream.
pub fn logprobs(answer: &mut Answer, logprobs: Option<&Value>) {
    let Some(logprobs) = logprobs else { return };
    let of = |token: &Value| token.get("logprob").and_then(Value::as_f64);
    let bare = of(logprobs);
    let listed = json::list(logprobs, "content").filter_map(of);
    bare.into_iter()
        .chain(listed)
        .for_each(|logprob| answer.logprob(logprob));
}
