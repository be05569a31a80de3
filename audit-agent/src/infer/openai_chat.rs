//! OpenAI chat completions, as every server of small models speaks them.
//!
//! Source: the OpenAI API reference and the servers' own code; members that only one server has are read where
//! they are and asked of nobody.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, request};
use crate::call::Call;
use crate::limits::cut;
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

    fn request(&self, call: &mut Call, body: &Value) {
        request::read(call, body, "messages");
    }

    fn event(&self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event {
        identity(call, event);
        if let Some(usage) = event.get("usage") {
            answer::usage(call, usage);
        }
        if let Some(timings) = event.get("timings") {
            answer::timings(call, timings);
        }
        let mut spoke = false;
        let choices = event.get("choices").and_then(Value::as_array);
        for (position, choice) in choices.into_iter().flatten().enumerate() {
            let index = json::number(choice, "index").unwrap_or(position as u64);
            let message = choice.get(if streamed { "delta" } else { "message" });
            if let Some(message) = message {
                spoke |= self::message(answer, index, message);
            }
            logprobs(answer, choice.get("logprobs"));
            if let Some(reason) = json::text(choice, "finish_reason") {
                answer.finish_reason(index, reason);
            }
        }
        Event { spoke, last: false }
    }
}

fn identity(call: &mut Call, event: &Value) {
    let fill = |field: &mut Option<String>, name: &str| {
        if field.is_none() {
            *field = json::text(event, name).filter(|text| !text.is_empty()).map(cut);
        }
    };
    fill(&mut call.response_id, "id");
    fill(&mut call.model_served, "model");
    fill(&mut call.system_fingerprint, "system_fingerprint");
    if call.system_fingerprint.as_deref() == Some("fp_ollama") {
        call.provider = Some("ollama");
    }
}

/// A message or a delta of one; true when the model said something in it.
fn message(answer: &mut Answer, index: u64, message: &Value) -> bool {
    let mut spoke = match message.get("content") {
        Some(Value::String(text)) => answer.text(index, text),
        Some(Value::Array(parts)) => {
            let mut any = false;
            for text in parts.iter().filter_map(|part| json::text(part, "text")) {
                any |= answer.text(index, text);
            }
            any
        }
        // An answer that is only a tool call has a text too: the empty one.
        _ => answer.text(index, ""),
    };
    for name in ["reasoning_content", "reasoning"] {
        if let Some(text) = json::text(message, name) {
            spoke |= answer.reasoning(index, text);
            break;
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

/// `{content: [{logprob}]}`; one server sends a bare object in a stream.
fn logprobs(answer: &mut Answer, logprobs: Option<&Value>) {
    let Some(logprobs) = logprobs else { return };
    if let Some(logprob) = logprobs.get("logprob").and_then(Value::as_f64) {
        answer.logprob(logprob);
    }
    for token in logprobs
        .get("content")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(logprob) = token.get("logprob").and_then(Value::as_f64) {
            answer.logprob(logprob);
        }
    }
}
