//! Embeddings in all their forms: vectors are counted and measured, never kept.
//!
//! Source: the OpenAI API reference (`data[].embedding`, floats or base64); llama.cpp `tools/server/README.md` (a bare array);
//! Ollama `api/types.go` (`embeddings[][]`, `embedding[]`); TEI `router/src/http/types.rs` (`[[f]]`); vLLM `/pooling`.

use super::answer::Answer;
use super::completions::inputs;
use super::family::{Event, Family};
use super::squeeze::{Keep, Shape};
use super::{json, ollama, openai_chat, request};
use crate::call::{Call, Results};
use serde_json::Value;

#[derive(Debug)]
pub struct Embeddings {
    pub api: &'static str,
}

/// Members that hold what is to be embedded, by server.
const INPUTS: &[&str] = &["input", "inputs", "prompt", "content", "messages", "instances"];

impl Family for Embeddings {
    fn names(&self) -> (&'static str, &'static str) {
        (self.api, "embeddings")
    }

    fn keep(&self) -> Keep {
        Keep::Count
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        let input = INPUTS.iter().find_map(|name| body.get(*name));
        call.prompt_canonical = input.and_then(request::canonical);
        call.inputs = inputs(input);
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        openai_chat::identity(call, event);
        openai_chat::accounts(call, event);
        ollama::accounts(call, event);
        call.results = results(event, &answer.shape);
        Event::last(false)
    }
}

fn results(event: &Value, shape: &Shape) -> Option<Results> {
    let (list, depth) = match event.as_array() {
        Some(list) => (list, 1),
        None => {
            let members = ["data", "embeddings", "outputs"];
            let list = members.iter().find_map(|name| event.get(*name)?.as_array());
            match (list, event.get("embedding")) {
                (Some(list), _) => (list, 2),
                (None, vector) => {
                    return vector.map(|vector| Results {
                        count: 1,
                        dimensions: dimensions(vector, shape),
                    });
                }
            }
        }
    };
    let left_out = shape.dropped.get(depth).copied().unwrap_or(0);
    let bare = list.first().is_some_and(Value::is_number);
    Some(Results {
        count: if bare {
            1
        } else {
            (list.len() as u64).saturating_add(left_out)
        },
        dimensions: if bare {
            Some(shape.longest.max(list.len() as u64))
        } else {
            list.first().and_then(|first| dimensions(first, shape))
        },
    })
}

/// Of the first vector; when long ones were left out, of the longest.
fn dimensions(vector: &Value, shape: &Shape) -> Option<u64> {
    let inside = ["embedding", "values", "data"]
        .iter()
        .find_map(|name| vector.get(*name));
    let mut vector = inside.unwrap_or(vector);
    // One vector for each token: the first one's length.
    while let Some(inner) = vector
        .get(0)
        .filter(|inner| inner.is_array() || inner.get("embedding").is_some())
    {
        vector = inner.get("embedding").unwrap_or(inner);
    }
    match vector {
        Value::Array(numbers) if numbers.first().is_some_and(|first| !first.is_number()) => None,
        Value::Array(numbers) => Some(shape.longest.max(numbers.len() as u64)),
        // Base64 of 32-bit floats.
        Value::String(text) => Some(shape.longest_string.max(text.len() as u64) / 4 * 3 / 4),
        _ => None,
    }
}

/// llama.cpp's answer to its native path, and others without a usage, say nothing of tokens.
pub fn inputs_of(call: &mut Call, list: Option<&Value>) {
    call.inputs = list.and_then(Value::as_array).map(|list| list.len() as u64);
}

/// The elements of a member, however many of them were left out.
pub fn count(event: &Value, name: &str, shape: &Shape) -> Option<u64> {
    let list = event.get(name).and_then(Value::as_array)?;
    Some((list.len() as u64).saturating_add(shape.dropped.get(2).copied().unwrap_or(0)))
}

/// The same of an answer that is the list itself.
pub fn count_of_list(event: &Value, shape: &Shape) -> Option<u64> {
    let count = json::elements(Some(event)).count() as u64;
    event
        .is_array()
        .then_some(count.saturating_add(shape.dropped.get(1).copied().unwrap_or(0)))
}
