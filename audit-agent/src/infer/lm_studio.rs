//! LM Studio's own chat: tools run inside the server, the last event has the whole result.
//!
//! Source: LM Studio's REST documentation (`/api/v1/chat`).

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, parts, request};
use crate::call::{Call, TokensSource};
use serde_json::Value;

#[derive(Debug)]
pub struct LmStudio;

impl Family for LmStudio {
    fn names(&self) -> (&'static str, &'static str) {
        ("lm_studio_chat", "chat")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        call.provider = Some("lm_studio");
        request::common(call, body);
        call.prompt_canonical = match body.get("system_prompt") {
            Some(_) => request::canonical_of(body, &["system_prompt", "input"]),
            None => body.get("input").and_then(request::canonical),
        };
        parts::content(call, body.get("input"), 2);
        call.tools_offered += json::list(body, "integrations").count() as u64;
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let piece = json::text(event, "content").unwrap_or_default();
        match json::text(event, "type").unwrap_or_default() {
            "message.delta" => Event::spoke(answer.text(0, piece)),
            "reasoning.delta" => Event::spoke(answer.reasoning(0, piece)),
            "chat.end" => {
                answer.restart();
                whole(call, answer, event.get("result").unwrap_or(event));
                Event::last(false)
            }
            "" if event.get("output").is_some() => {
                whole(call, answer, event);
                Event::last(false)
            }
            _ => {
                let model = json::word_of(event, "model_instance_id");
                call.model_served = call.model_served.take().or(model);
                Event::default()
            }
        }
    }
}

fn whole(call: &mut Call, answer: &mut Answer, result: &Value) {
    call.model_served = json::word_of(result, "model_instance_id").or(call.model_served.take());
    call.response_id = json::word_of(result, "response_id").or(call.response_id.take());
    answer.text(0, "");
    for item in json::list(result, "output") {
        let content = json::text(item, "content").unwrap_or_default();
        match json::text(item, "type").unwrap_or_default() {
            "message" => {
                answer.text(0, content);
            }
            "reasoning" => {
                answer.reasoning(0, content);
            }
            "tool_call" => {
                let arguments = item.get("arguments").map(Value::to_string).unwrap_or_default();
                answer.whole_tool_call(0, None, json::text(item, "tool"), &arguments);
            }
            _ => call.note("invalid_tool_call"),
        }
    }
    // The API names no reason; a result is what an answer that came to its end has.
    answer.finish_reason(0, "stop");
    let Some(stats) = result.get("stats") else { return };
    call.input_tokens = json::number(stats, "input_tokens").or(call.input_tokens);
    call.output_tokens = json::number(stats, "total_output_tokens").or(call.output_tokens);
    call.reasoning_tokens = json::number(stats, "reasoning_output_tokens").or(call.reasoning_tokens);
    if call.output_tokens.is_some() {
        call.tokens_source = TokensSource::ServerUsage;
    }
    answer::timed(
        call,
        "first_token",
        json::micros(stats, "time_to_first_token_seconds", 1e6),
    );
    answer::timed(call, "load", json::micros(stats, "model_load_time_seconds", 1e6));
}
