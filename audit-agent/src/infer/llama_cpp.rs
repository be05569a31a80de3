//! llama.cpp's native `/completion` and `/infill`.
//!
//! Source: llama.cpp `tools/server/README.md` and `server-task.cpp`. A stream has no `[DONE]`: its last event says
//! `stop: true`. Several prompts give an array of answers. Other servers have OpenAI's completions at `/completions`.

use super::answer::{self, Answer};
use super::completions;
use super::family::{Event, Family};
use super::{json, parts, request};
use crate::call::{Call, TokensSource};
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug)]
pub struct Completion {
    pub infill: bool,
}

/// Numbers and truth values of `generation_settings` that are copied.
const SETTINGS: usize = 64;

impl Family for Completion {
    fn names(&self) -> (&'static str, &'static str) {
        match self.infill {
            true => ("llama_cpp_infill", "text_completion"),
            false => ("llama_cpp_completion", "text_completion"),
        }
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        // Only of a server that speaks OpenAI here.
        Some(b"[DONE]")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::read(call, body, "prompt");
        if self.infill {
            let members = ["input_prefix", "input_suffix", "input_extra", "prompt"];
            call.prompt_canonical = request::canonical_of(body, &members);
        }
        let prompt = body.get("prompt");
        call.inputs = completions::inputs(prompt);
        let media = prompt.and_then(|prompt| prompt.get("multimodal_data"));
        parts::images(call, media);
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        if event.get("choices").is_some() {
            call.api = "openai_completions";
            return completions::event(call, answer, event);
        }
        call.provider = Some("llama_cpp");
        match event {
            Value::Array(answers) => {
                let mut spoke = false;
                for one in answers {
                    spoke |= result(call, answer, one);
                }
                Event::last(spoke)
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
    let spoke = match json::text(event, "content") {
        Some(text) => answer.text(index, text),
        None => false,
    };
    for token in json::list(event, "completion_probabilities") {
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
    call.model_served = call.model_served.take().or_else(|| json::word_of(event, "model"));
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
    let one = call.inputs.is_none_or(|inputs| inputs == 1);
    if let Some(prompt) = json::text(event, "prompt").filter(|prompt| one && !prompt.is_empty()) {
        call.rendered_prompt = Some(prompt.as_bytes().to_vec());
    }
    let settings = event.get("generation_settings").and_then(Value::as_object);
    for (name, value) in settings.into_iter().flatten() {
        if (value.is_number() || value.is_boolean()) && call.effective_params.len() < SETTINGS {
            call.effective_params.insert(cut(name), value.clone());
        }
    }
}
