//! llama.cpp's native `/completion`.
//!
//! Source: llama.cpp `tools/server/README.md` and `server-task.cpp`. A stream has no `[DONE]`: its last event says
//! `stop: true`. Several prompts give an array of answers.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, request};
use crate::call::{Call, TokensSource};
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug)]
pub struct Completion;

impl Family for Completion {
    fn names(&self) -> (&'static str, &'static str) {
        ("llama_cpp_completion", "text_completion")
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        None
    }

    fn request(&self, call: &mut Call, body: &Value) {
        call.provider = Some("llama_cpp");
        request::read(call, body, "prompt");
    }

    fn event(&self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        match event {
            Value::Array(answers) => {
                let mut spoke = false;
                for one in answers {
                    spoke |= result(call, answer, one);
                }
                Event { spoke, last: true }
            }
            one => Event {
                spoke: result(call, answer, one),
                last: stops(one),
            },
        }
    }
}

fn stops(event: &Value) -> bool {
    event.get("stop").and_then(Value::as_bool) == Some(true)
}

fn result(call: &mut Call, answer: &mut Answer, event: &Value) -> bool {
    let index = json::number(event, "index").unwrap_or(0);
    let spoke = answer.text(index, json::text(event, "content").unwrap_or_default());
    for token in event
        .get("completion_probabilities")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(logprob) = token.get("logprob").and_then(Value::as_f64) {
            answer.logprob(logprob);
        }
    }
    if stops(event) {
        finish(call, answer, index, event);
    }
    spoke
}

fn finish(call: &mut Call, answer: &mut Answer, index: u64, event: &Value) {
    answer.finish_reason(index, json::text(event, "stop_type").unwrap_or("stop"));
    call.model_served = call
        .model_served
        .take()
        .or_else(|| json::text(event, "model").map(cut));
    let add = |total: Option<u64>, name: &str| match (total, json::number(event, name)) {
        (total, None) => total,
        (total, Some(n)) => Some(total.unwrap_or(0).saturating_add(n)),
    };
    call.input_tokens = add(call.input_tokens, "tokens_evaluated");
    call.output_tokens = add(call.output_tokens, "tokens_predicted");
    if call.input_tokens.is_some() || call.output_tokens.is_some() {
        call.tokens_source = TokensSource::ServerUsage;
    }
    if let Some(timings) = event.get("timings") {
        answer::timings(call, timings);
    }
    let settings = event.get("generation_settings").and_then(Value::as_object);
    for (name, value) in settings.into_iter().flatten() {
        if (value.is_number() || value.is_boolean()) && call.effective_params.len() < 64 {
            call.effective_params.insert(cut(name), value.clone());
        }
    }
}
