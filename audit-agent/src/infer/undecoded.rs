//! Calls to inference APIs whose bodies are not read: that they happened, when, by whom and with what status.

use super::answer::Answer;
use super::family::{Event, Family};
use super::json;
use super::squeeze::Keep;
use crate::call::Call;
use serde_json::Value;

#[derive(Debug)]
pub struct Undecoded {
    pub operation: &'static str,
}

impl Family for Undecoded {
    fn names(&self) -> (&'static str, &'static str) {
        ("undecoded", self.operation)
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn keep(&self) -> Keep {
        Keep::Shape
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        call.note("api_not_decoded");
        call.model_requested = json::word_of(body, "model");
        call.stream = body.get("stream").and_then(Value::as_bool);
    }

    fn ends_with_body(&self) -> bool {
        true
    }

    fn event(&mut self, _call: &mut Call, _answer: &mut Answer, _event: &Value, _streamed: bool) -> Event {
        Event::default()
    }
}
