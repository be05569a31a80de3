//! Anthropic messages: blocks in, blocks out.
//!
//! Source: the Anthropic API reference; llama.cpp `tools/server`, whose errors inside a stream have no wrapper. A stream has no
//! `[DONE]`: `message_stop` ends it.

use super::answer::Answer;
use super::family::{Event, Family};
use super::{json, parts, request};
use crate::call::{Call, CallError, TokensSource};
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug)]
pub struct Messages;

impl Family for Messages {
    fn names(&self) -> (&'static str, &'static str) {
        ("anthropic_messages", "chat")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        call.prompt_canonical = match body.get("system") {
            Some(_) => request::canonical_of(body, &["system", "messages"]),
            None => body.get("messages").and_then(request::canonical),
        };
        if body.get("system").is_some() {
            parts::role_of(call, "system");
        }
        if let Some(messages) = body.get("messages") {
            parts::messages(call, messages);
        }
        if let Some(budget) = json::at(body, &["thinking", "budget_tokens"]) {
            call.params
                .insert("thinking_budget_tokens".into(), budget.clone());
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        match json::text(event, "type").unwrap_or_default() {
            "message" => {
                start(call, event);
                json::list(event, "content").for_each(|block| {
                    self::block(answer, block);
                });
                stop(call, answer, event);
                // The text of an answer that is only a tool call is the empty one.
                answer.text(0, "");
                Event::last(false)
            }
            "message_start" => {
                let message = event.get("message").unwrap_or(event);
                start(call, message);
                answer.text(0, "");
                Event::default()
            }
            "content_block_start" => {
                Event::spoke(event.get("content_block").is_some_and(|b| block(answer, b)))
            }
            "content_block_delta" => Event::spoke(event.get("delta").is_some_and(|d| delta(answer, d))),
            "message_delta" => {
                usage(call, event.get("usage"));
                if let Some(delta) = event.get("delta") {
                    stop(call, answer, delta);
                }
                Event::default()
            }
            "message_stop" => Event::last(false),
            "ping" | "content_block_stop" | "error" => Event::default(),
            _ => {
                bare_error(call, event);
                Event::default()
            }
        }
    }
}

/// llama.cpp: `event: error` with `{code, message, type}`.
fn bare_error(call: &mut Call, event: &Value) {
    if let (Some(message), Some(kind), Some(_)) = (
        json::text(event, "message"),
        json::text(event, "type"),
        event.get("code"),
    ) {
        call.error.get_or_insert(CallError {
            kind: cut(kind),
            message: Some(cut(message)),
        });
    }
}

fn start(call: &mut Call, message: &Value) {
    call.response_id = json::word_of(message, "id").or(call.response_id.take());
    call.model_served = json::word_of(message, "model").or(call.model_served.take());
    usage(call, message.get("usage"));
}

/// Counts so far; what a later one leaves out stands. What came from a cache is of the prompt too.
fn usage(call: &mut Call, usage: Option<&Value>) {
    let Some(usage) = usage else { return };
    let number = |name: &str| json::number(usage, name);
    if let Some(input) = number("input_tokens") {
        let read = number("cache_read_input_tokens");
        let created = number("cache_creation_input_tokens").unwrap_or(0);
        call.input_tokens = Some(input.saturating_add(created).saturating_add(read.unwrap_or(0)));
        call.cached_tokens = read.or(call.cached_tokens);
        call.tokens_source = TokensSource::ServerUsage;
    }
    if let Some(output) = number("output_tokens") {
        call.output_tokens = Some(output);
        call.tokens_source = TokensSource::ServerUsage;
    }
}

fn stop(call: &mut Call, answer: &mut Answer, part: &Value) {
    if let Some(reason) = json::text(part, "stop_reason") {
        answer.finish_reason(0, reason);
    }
    if let Some(timings) = part.get("timings") {
        super::answer::timings(call, timings);
    }
}

/// A whole block, or the beginning of one in a stream.
fn block(answer: &mut Answer, block: &Value) -> bool {
    match json::text(block, "type").unwrap_or_default() {
        "text" => answer.text(0, json::text(block, "text").unwrap_or_default()),
        "thinking" => answer.reasoning(0, json::text(block, "thinking").unwrap_or_default()),
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            let input = block
                .get("input")
                .filter(|input| input.as_object().is_some_and(|map| !map.is_empty()));
            let arguments = input.map(Value::to_string).unwrap_or_default();
            answer.whole_tool_call(0, json::text(block, "id"), json::text(block, "name"), &arguments);
            true
        }
        _ => false,
    }
}

fn delta(answer: &mut Answer, delta: &Value) -> bool {
    let piece = |name: &str| json::text(delta, name).unwrap_or_default();
    match json::text(delta, "type").unwrap_or_default() {
        "text_delta" => answer.text(0, piece("text")),
        "thinking_delta" => answer.reasoning(0, piece("thinking")),
        "input_json_delta" => answer.more_arguments(0, piece("partial_json")),
        _ => false,
    }
}
