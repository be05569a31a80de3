//! The wrapper of Google's Vertex AI: requests of another API as `instances`, answers as `predictions`.
//!
//! Source: llama.cpp `tools/server` (`AIP_PREDICT_ROUTE`, `@requestFormat`), TGI `router/src/vertex.rs`, TEI, SGLang `/vertex_generate`.

use super::answer::Answer;
use super::family::{Event, Family};
use super::openai_chat::OpenAiChat;
use super::{json, request};
use crate::call::{Call, Results};
use serde_json::Value;

#[derive(Debug, Default)]
pub struct Vertex {
    chat: bool,
}

impl Family for Vertex {
    fn names(&self) -> (&'static str, &'static str) {
        ("vertex", "text_completion")
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        let Some(first) = body.get("instances").and_then(|list| list.get(0)) else {
            // TEI's `/predict` is a classifier's.
            (call.api, call.operation) = ("rerank", "classify");
            request::common(call, body);
            call.prompt_canonical = body.get("inputs").and_then(request::canonical);
            return;
        };
        call.inputs = body
            .get("instances")
            .and_then(Value::as_array)
            .map(|list| list.len() as u64);
        self.chat = first.get("messages").is_some();
        if let Some(parameters) = body.get("parameters") {
            request::params(call, parameters);
        }
        if self.chat && call.inputs == Some(1) {
            call.operation = "chat";
            OpenAiChat.request(call, first);
        } else {
            request::common(call, body);
            call.prompt_canonical = body.get("instances").and_then(request::canonical);
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event {
        let predictions = event.get("predictions").or(event.as_array().map(|_| event));
        let Some(predictions) = predictions else {
            return OpenAiChat.event(call, answer, event, streamed);
        };
        for (index, prediction) in json::elements(Some(predictions)).enumerate() {
            let index = index as u64;
            if prediction.get("choices").is_some() {
                OpenAiChat.event(call, answer, prediction, false);
            } else if let Some(text) = prediction
                .as_str()
                .or_else(|| json::text(prediction, "generated_text"))
                .or_else(|| json::text(prediction, "text"))
            {
                answer.text(index, text);
            }
        }
        // llama.cpp puts one answer there as it is.
        if predictions.get("choices").is_some() {
            return OpenAiChat.event(call, answer, predictions, false);
        }
        if answer.choices() == 0 {
            call.results = Some(Results {
                count: json::elements(Some(predictions)).count() as u64,
                dimensions: None,
            });
        }
        Event::last(false)
    }
}
