//! Ollama's native API: NDJSON unless asked otherwise, times in nanoseconds, loading by an empty prompt.
//!
//! Source: Ollama `api/types.go`, `server/routes.go`, `docs/api.md`.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, openai_chat, parts, request};
use crate::call::{Admin, Call, TokensSource};
use serde_json::Value;

#[derive(Debug)]
pub struct Ollama {
    chat: bool,
    /// The request has no prompt: it loads the model, or with `keep_alive: 0` unloads it.
    load: Option<&'static str>,
}

impl Ollama {
    pub fn generate() -> Self {
        Self {
            chat: false,
            load: None,
        }
    }

    pub fn chat() -> Self {
        Self {
            chat: true,
            load: None,
        }
    }
}

impl Family for Ollama {
    fn names(&self) -> (&'static str, &'static str) {
        match self.chat {
            true => ("ollama_chat", "chat"),
            false => ("ollama_generate", "text_completion"),
        }
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        call.provider = Some("ollama");
        request::common(call, body);
        // Streaming is what happens when nothing is said.
        call.stream = call.stream.or(Some(true));
        if let Some(options) = body.get("options") {
            request::params(call, options);
        }
        if self.chat {
            call.prompt_canonical = body.get("messages").and_then(request::canonical);
            parts::messages(call, body.get("messages").unwrap_or(&Value::Null));
        } else {
            let more = ["system", "suffix", "context", "template"]
                .iter()
                .any(|name| body.get(*name).is_some());
            call.prompt_canonical = match more {
                true => request::canonical_of(body, &["system", "prompt", "suffix", "context", "template"]),
                false => body.get("prompt").and_then(request::canonical),
            };
            parts::images(call, body.get("images"));
            call.chat_template = json::text(body, "template").map(|template| template.as_bytes().to_vec());
        }
        self.load = load(body, if self.chat { "messages" } else { "prompt" });
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        call.provider = Some("ollama");
        call.model_served = json::word_of(event, "model").or(call.model_served.take());
        accounts(call, event);
        remote(call, event);
        let message = event.get("message").unwrap_or(event);
        let mut spoke = answer.text(0, said(event, message));
        spoke |= answer.reasoning(0, json::text(message, "thinking").unwrap_or_default());
        for tool in json::list(message, "tool_calls") {
            spoke |= self::tool(answer, tool);
        }
        for entry in json::list(event, "logprobs") {
            openai_chat::logprobs(answer, Some(entry));
        }
        let done = event.get("done").and_then(Value::as_bool) == Some(true);
        if done {
            let reason = json::text(event, "done_reason").filter(|reason| !reason.is_empty());
            answer.finish_reason(0, reason.unwrap_or("stop"));
        }
        Event { spoke, last: done }
    }

    fn finish(&mut self, call: &mut Call, _answer: &mut Answer) {
        if let Some(action) = self.load {
            call.admin = Some(Admin {
                action,
                model: call.model_requested.clone(),
                ..Admin::default()
            });
        }
    }
}

fn load(body: &Value, prompt: &str) -> Option<&'static str> {
    let empty = match body.get(prompt) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    let zero = match body.get("keep_alive") {
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(text)) => text.trim_end_matches(['s', 'm', 'h']) == "0",
        _ => false,
    };
    let images = json::list(body, "images").next().is_some();
    (empty && !images && !json::has_other_case(body)).then_some(if zero { "unload" } else { "load" })
}

fn said<'a>(event: &'a Value, message: &'a Value) -> &'a str {
    json::text(message, "content")
        .or_else(|| json::text(event, "response"))
        .unwrap_or_default()
}

/// `{id?, function{index, name, arguments(object)}}`: always whole.
fn tool(answer: &mut Answer, tool: &Value) -> bool {
    let function = tool.get("function").unwrap_or(tool);
    let arguments = match function.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(object) => object.to_string(),
    };
    answer.whole_tool_call(
        0,
        json::text(tool, "id"),
        json::text(function, "name"),
        &arguments,
    );
    true
}

/// A model of the cloud: what was asked left the host.
fn remote(call: &mut Call, event: &Value) {
    let upstream = &mut call.upstream;
    upstream.host = json::word_of(event, "remote_host").or(upstream.host.take());
    upstream.model = json::word_of(event, "remote_model").or(upstream.model.take());
}

/// Counts, and times in nanoseconds.
pub fn accounts(call: &mut Call, event: &Value) {
    let prompt = json::number(event, "prompt_eval_count");
    let output = json::number(event, "eval_count");
    if prompt.is_some() || output.is_some() {
        call.input_tokens = prompt.or(call.input_tokens);
        call.output_tokens = output.or(call.output_tokens);
        call.tokens_source = TokensSource::ServerUsage;
    }
    for (name, member) in [
        ("total_duration", "total"),
        ("load_duration", "load"),
        ("prompt_eval_duration", "prompt"),
        ("eval_duration", "generation"),
    ] {
        answer::timed(call, member, json::micros(event, name, 1e-3));
    }
}
