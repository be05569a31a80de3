//! Paths that handle prompts without a model's answer: counting and making tokens, rendering templates.
//!
//! Source: llama.cpp `tools/server/README.md`, vLLM `entrypoints/serve/tokenize`, TGI and TEI `router/src`, Anthropic's
//! `count_tokens`, OpenAI's `input_tokens`.

use super::answer::Answer;
use super::embeddings::{count, count_of_list};
use super::family::{Event, Family};
use super::squeeze::Keep;
use super::{json, request};
use crate::call::{Call, Results, TokensSource};
use serde_json::Value;

#[derive(Debug)]
pub struct Tokens {
    pub operation: &'static str,
}

const PROMPT: &[&str] = &[
    "content", "prompt", "inputs", "text", "messages", "input", "system", "tokens", "ids", "tools",
];

impl Family for Tokens {
    fn names(&self) -> (&'static str, &'static str) {
        ("tokenizer", self.operation)
    }

    fn keep(&self) -> Keep {
        if self.operation == "tokenize" {
            Keep::Shape
        } else {
            Keep::Text
        }
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        let there: Vec<&str> = PROMPT
            .iter()
            .copied()
            .filter(|name| body.get(*name).is_some())
            .collect();
        call.prompt_canonical = match there.as_slice() {
            [one] => body.get(*one).and_then(request::canonical),
            many => request::canonical_of(body, many),
        };
        if let Some(messages) = body.get("messages") {
            super::parts::messages(call, messages);
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let shape = answer.shape;
        let numbers = |name: &str| {
            event
                .get(name)?
                .as_array()
                .map(|list| shape.longest.max(list.len() as u64))
        };
        let counted = json::number(event, "input_tokens").or_else(|| json::number(event, "count"));
        // TEI: one list of tokens for each text.
        let nested = || {
            let lists: Option<Vec<u64>> = event
                .as_array()?
                .iter()
                .map(|list| Some(list.as_array()?.len() as u64))
                .collect();
            lists
                .filter(|_| shape.dropped == [0; 4])
                .map(|lengths| lengths.iter().sum())
        };
        let listed = || {
            numbers("tokens")
                .or_else(|| count(event, "tokens", &shape))
                .or_else(nested)
        };
        if let Some(tokens) = counted.or_else(listed) {
            call.input_tokens = Some(tokens);
            call.tokens_source = TokensSource::ServerUsage;
        }
        call.results = count_of_list(event, &shape).map(|count| Results {
            count,
            dimensions: None,
        });
        if self.operation == "detokenize" {
            // TEI: one text for each list of tokens.
            let texts = json::elements(Some(event)).map(Value::as_str);
            for (index, text) in texts.enumerate() {
                answer.text(index as u64, text.unwrap_or_default());
            }
        }
        let text = ["content", "prompt", "text"]
            .iter()
            .find_map(|name| json::text(event, name));
        match text {
            // No model wrote it.
            Some(text) if self.operation == "apply_template" => {
                call.rendered_prompt = Some(text.as_bytes().to_vec())
            }
            Some(text) => drop(answer.text(0, text)),
            None => {}
        }
        Event::last(false)
    }
}
