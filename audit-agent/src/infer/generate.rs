//! `/generate` and `/generate_stream`: TGI's and SGLang's native APIs, told apart by their bodies.
//!
//! Source: TGI `router/src/lib.rs`; SGLang `srt/managers/io_struct.py`, `srt/entrypoints/http_server.py`. TGI's pieces are tokens, and
//! its last one has the whole text; SGLang's `text` is what there is so far, or with an option of the server what is new.

use super::answer::{self, Answer};
use super::completions::inputs;
use super::family::{Event, Family};
use super::{json, request};
use crate::call::{Call, TokensSource};
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Generate {
    /// The prompt comes before the answer in the answer.
    full_text_of: Option<String>,
}

impl Family for Generate {
    fn names(&self) -> (&'static str, &'static str) {
        ("generate", "text_completion")
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        let tgi = body.get("inputs").is_some();
        let sampling = if tgi { "parameters" } else { "sampling_params" };
        if let Some(parameters) = body.get(sampling) {
            request::params(call, parameters);
            call.adapter = json::word_of(parameters, "adapter_id").or(call.adapter.take());
        }
        if tgi {
            (call.api, call.provider) = ("tgi_generate", call.provider.or(Some("tgi")));
            call.prompt_canonical = body.get("inputs").and_then(request::canonical);
            let full = json::at(body, &["parameters", "return_full_text"]).and_then(Value::as_bool);
            self.full_text_of = json::text(body, "inputs")
                .filter(|_| full == Some(true))
                .map(Into::into);
        } else {
            (call.api, call.provider) = ("sglang_generate", call.provider.or(Some("sglang")));
            let prompt = ["text", "input_ids"]
                .iter()
                .find_map(|name| body.get(*name).filter(|prompt| !prompt.is_null()));
            call.prompt_canonical = prompt.and_then(request::canonical);
            call.inputs = inputs(prompt);
            super::parts::images(call, body.get("image_data"));
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event {
        match event {
            Value::Array(answers) => {
                for (index, one) in answers.iter().enumerate() {
                    self.one(call, answer, index as u64, one, streamed);
                }
                Event::last(true)
            }
            one => self.one(
                call,
                answer,
                json::number(one, "index").unwrap_or(0),
                one,
                streamed,
            ),
        }
    }
}

impl Generate {
    fn one(&self, call: &mut Call, answer: &mut Answer, index: u64, event: &Value, streamed: bool) -> Event {
        if event.get("meta_info").is_some() || (event.get("text").is_some() && event.get("token").is_none()) {
            return sglang(call, answer, index, event, streamed);
        }
        // TGI numbers its tokens, not its choices.
        let token = event.get("token").filter(|token| token.is_object());
        let spoke = token.is_some_and(|token| self::token(answer, token));
        let whole = json::text(event, "generated_text");
        if let Some(text) = whole {
            let asked = self.full_text_of.as_deref().unwrap_or_default();
            answer.whole_text(0, text.strip_prefix(asked).unwrap_or(text));
        }
        if let Some(details) = event.get("details").filter(|details| details.is_object()) {
            self::details(call, answer, details, token.is_none());
        }
        Event {
            spoke,
            last: whole.is_some(),
        }
    }
}

/// A token of a stream; marks of the model's own language are no text.
fn token(answer: &mut Answer, token: &Value) -> bool {
    if let Some(logprob) = token.get("logprob").and_then(Value::as_f64) {
        answer.logprob(logprob);
    }
    let special = token.get("special").and_then(Value::as_bool) == Some(true);
    !special && answer.text(0, json::text(token, "text").unwrap_or_default())
}

fn details(call: &mut Call, answer: &mut Answer, details: &Value, with_tokens: bool) {
    if let Some(reason) = json::text(details, "finish_reason") {
        answer.finish_reason(0, reason);
    }
    let prefill = details
        .get("prefill")
        .and_then(Value::as_array)
        .map(|list| list.len() as u64);
    let input = json::number(details, "input_length").or(prefill.filter(|count| *count > 0));
    let output = json::number(details, "generated_tokens");
    call.input_tokens = input.or(call.input_tokens);
    call.output_tokens = output.or(call.output_tokens);
    if output.is_some() {
        call.tokens_source = TokensSource::ServerUsage;
    }
    if let Some(seed) = details.get("seed").filter(|seed| seed.is_number()) {
        call.effective_params.insert("seed".into(), seed.clone());
    }
    for token in json::list(details, "tokens").filter(|_| with_tokens) {
        if let Some(logprob) = token.get("logprob").and_then(Value::as_f64) {
            answer.logprob(logprob);
        }
    }
}

fn sglang(call: &mut Call, answer: &mut Answer, index: u64, event: &Value, streamed: bool) -> Event {
    let text = json::text(event, "text").unwrap_or_default();
    let spoke = match streamed {
        true => answer.cumulative_text(index, text),
        false => answer.text(index, text),
    };
    let Some(meta) = event.get("meta_info") else {
        return Event::spoke(spoke);
    };
    call.response_id = json::word_of(meta, "id").or(call.response_id.take());
    let number = |name: &str| json::number(meta, name);
    counts(
        call,
        index,
        (
            number("prompt_tokens"),
            number("completion_tokens"),
            number("cached_tokens"),
        ),
    );
    answer::timed(call, "total", json::micros(meta, "e2e_latency", 1e6));
    if let Some(version) = json::text(meta, "weight_version") {
        call.effective_params
            .insert("weight_version".into(), Value::from(crate::limits::cut(version)));
    }
    for entry in json::list(meta, "output_token_logprobs").filter(|_| !streamed) {
        if let Some(logprob) = entry.get(0).and_then(Value::as_f64) {
            answer.logprob(logprob);
        }
    }
    match meta.get("finish_reason") {
        Some(Value::String(reason)) => answer.finish_reason(index, reason),
        Some(reason @ Value::Object(_)) => {
            if let Some(kind) = json::text(reason, "type") {
                answer.finish_reason(index, kind);
            }
        }
        _ => {}
    }
    Event::spoke(spoke)
}

/// Of a stream the last ones count; of several answers in one they add up.
fn counts(call: &mut Call, index: u64, (prompt, output, cached): (Option<u64>, Option<u64>, Option<u64>)) {
    let add = |total: Option<u64>, more: Option<u64>| match (index, total, more) {
        (0, total, None) => total,
        (0, _, more) => more,
        (_, total, more) => more.map(|more| total.unwrap_or(0).saturating_add(more)).or(total),
    };
    call.input_tokens = add(call.input_tokens, prompt);
    call.output_tokens = add(call.output_tokens, output);
    call.cached_tokens = add(call.cached_tokens, cached);
    if call.input_tokens.is_some() {
        call.tokens_source = TokensSource::ServerUsage;
    }
}
