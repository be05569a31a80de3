//! OpenAI Responses: items in, items out, and state that the server may keep.
//!
//! Source: the OpenAI API reference; llama.cpp `tools/server`, vLLM `entrypoints/openai/responses`, Ollama `openai/responses.go`.
//! A stream's last event has the whole answer again, which is better than what its pieces gave.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::{json, openai_chat, parts, request};
use crate::call::{Call, CallError};
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug)]
pub struct Responses {
    /// `chat`; `retrieve` and `cancel` of an answer that the server keeps, whose tokens were another call's.
    pub operation: &'static str,
}

impl Family for Responses {
    fn names(&self) -> (&'static str, &'static str) {
        ("openai_responses", self.operation)
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        call.prompt_canonical = match body.get("instructions").filter(|text| !text.is_null()) {
            Some(_) => request::canonical_of(body, &["instructions", "input"]),
            None => body.get("input").and_then(request::canonical),
        };
        ask(call, body.get("input"));
        let format = json::at(body, &["text", "format"]).and_then(|format| json::word_of(format, "type"));
        if let Some(format) = format {
            call.params.insert("response_format".into(), Value::from(format));
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let kind = json::text(event, "type").unwrap_or_default();
        let piece = json::text(event, "delta").unwrap_or_default();
        match kind {
            "response.output_text.delta" | "response.refusal.delta" => {
                logprobs(answer, event.get("logprobs"));
                Event::spoke(answer.text(0, piece))
            }
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                Event::spoke(answer.reasoning(0, piece))
            }
            "response.function_call_arguments.delta" => Event::spoke(answer.more_arguments(0, piece)),
            "response.output_item.added" => {
                begin(answer, event.get("item"));
                Event::default()
            }
            "response.completed" | "response.failed" | "response.incomplete" | "response.cancelled" => {
                if let Some(response) = event.get("response") {
                    // One that failed may leave out what was said before.
                    if json::list(response, "output").next().is_some() {
                        answer.restart();
                    }
                    whole(call, answer, response);
                }
                Event::last(false)
            }
            "error" => {
                call.error.get_or_insert(CallError {
                    kind: cut(json::text(event, "code").unwrap_or("error")),
                    message: json::word_of(event, "message"),
                });
                Event::default()
            }
            _ => {
                if let Some(response) = event.get("response") {
                    openai_chat::identity(call, response);
                } else if json::text(event, "object") == Some("response") {
                    whole(call, answer, event);
                }
                Event::default()
            }
        }
    }
}

/// Roles and attachments of the items of an input.
fn ask(call: &mut Call, input: Option<&Value>) {
    match input {
        Some(Value::String(_)) => parts::role_of(call, "user"),
        Some(items) => {
            parts::messages(call, items);
            let outputs = json::elements(Some(items))
                .filter(|item| json::text(item, "type").is_some_and(|kind| kind.ends_with("_call_output")));
            outputs.for_each(|_| parts::role_of(call, "tool"));
        }
        None => {}
    }
}

fn begin(answer: &mut Answer, item: Option<&Value>) {
    let Some(item) = item else { return };
    match json::text(item, "type") {
        Some("function_call" | "custom_tool_call" | "mcp_call") => tool_call(answer, item, ""),
        // A message that says nothing is an answer too: the empty one.
        Some("message") => {
            answer.text(0, "");
        }
        _ => {}
    }
}

fn tool_call(answer: &mut Answer, item: &Value, arguments: &str) {
    let id = json::text(item, "call_id").or_else(|| json::text(item, "id"));
    answer.whole_tool_call(0, id, json::text(item, "name"), arguments);
}

/// A response object that is over, or is asked for in between.
pub fn whole(call: &mut Call, answer: &mut Answer, response: &Value) {
    openai_chat::identity(call, response);
    if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
        answer::usage(call, usage);
    }
    for item in json::list(response, "output") {
        self::item(answer, item);
    }
    let previous = json::word_of(response, "previous_response_id");
    call.thread.previous_response_id = call.thread.previous_response_id.take().or(previous);
    for name in [
        "temperature",
        "top_p",
        "max_output_tokens",
        "truncation",
        "service_tier",
    ] {
        if let Some(value) = response
            .get(name)
            .filter(|value| value.is_number() || value.is_string())
        {
            call.effective_params.insert(name.into(), value.clone());
        }
    }
    let status = json::text(response, "status").unwrap_or_default();
    let reason =
        json::at(response, &["incomplete_details"]).and_then(|details| json::text(details, "reason"));
    match (status, reason) {
        ("", _) => {}
        ("incomplete", Some("max_output_tokens") | None) => answer.finish_reason(0, "incomplete"),
        ("incomplete", Some(reason)) => answer.finish_reason(0, reason),
        ("in_progress" | "queued", _) => call.note("answer_not_ready"),
        (status, _) => answer.finish_reason(0, status),
    }
    if status == "failed" {
        let error = response.get("error");
        call.error.get_or_insert(CallError {
            kind: cut(error
                .and_then(|error| json::text(error, "code"))
                .unwrap_or("failed")),
            message: error.and_then(|error| json::word_of(error, "message")),
        });
    }
}

fn item(answer: &mut Answer, item: &Value) {
    match json::text(item, "type").unwrap_or_default() {
        "message" => {
            for part in json::list(item, "content") {
                let said = ["text", "refusal", "transcript"];
                let text = said.iter().find_map(|name| json::text(part, name));
                answer.text(0, text.unwrap_or_default());
                logprobs(answer, part.get("logprobs"));
            }
        }
        "reasoning" => {
            // Encrypted reasoning has neither.
            let whole = json::list(item, "content").chain(json::list(item, "summary"));
            let texts = whole.filter_map(|part| json::text(part, "text"));
            texts.for_each(|text| {
                answer.reasoning(0, text);
            });
        }
        "function_call" | "mcp_call" => {
            tool_call(answer, item, json::text(item, "arguments").unwrap_or_default());
        }
        "custom_tool_call" => tool_call(answer, item, json::text(item, "input").unwrap_or_default()),
        kind if kind.ends_with("_call") => {
            let action = item.get("action").map(Value::to_string).unwrap_or_default();
            answer.whole_tool_call(0, json::text(item, "id"), Some(kind), &action);
        }
        _ => {}
    }
}

fn logprobs(answer: &mut Answer, list: Option<&Value>) {
    let numbers = json::elements(list).filter_map(|token| token.get("logprob")?.as_f64());
    numbers.for_each(|logprob| answer.logprob(logprob));
}
