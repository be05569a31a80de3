//! Answers that are scores or labels: reranking, scoring, classification, similarity.
//!
//! Source: llama.cpp `tools/server/README.md` (`/rerank`), vLLM `entrypoints/pooling` (`/score`, `/classify`), TEI
//! `router/src/http/types.rs` (bare lists), Cohere's rerank API, which the others follow.

use super::answer::Answer;
use super::embeddings::{count, count_of_list, inputs_of};
use super::family::{Event, Family};
use super::squeeze::Keep;
use super::{openai_chat, request};
use crate::call::{Call, Results};
use serde_json::Value;

#[derive(Debug)]
pub struct Scores {
    pub operation: &'static str,
}

/// What is compared, by server: the query is one of them.
const PROMPT: &[&str] = &[
    "query",
    "documents",
    "texts",
    "text_1",
    "text_2",
    "queries",
    "items",
    "input",
    "inputs",
    "messages",
];

impl Family for Scores {
    fn names(&self) -> (&'static str, &'static str) {
        ("rerank", self.operation)
    }

    fn keep(&self) -> Keep {
        Keep::Shape
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        call.prompt_canonical = request::canonical_of(body, PROMPT);
        let documents = ["documents", "texts", "text_2", "items", "inputs", "input"];
        inputs_of(call, documents.iter().find_map(|name| body.get(*name)));
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        openai_chat::identity(call, event);
        openai_chat::accounts(call, event);
        let shape = answer.shape;
        let listed = ["results", "data", "scores"]
            .iter()
            .find_map(|name| count(event, name, &shape));
        call.results = listed
            .or_else(|| count_of_list(event, &shape))
            .map(|count| Results {
                count,
                dimensions: None,
            });
        Event::last(false)
    }
}
