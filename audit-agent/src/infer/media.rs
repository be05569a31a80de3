//! Speech, transcription and pictures: what was asked and how much came, with digests in place of the media.
//!
//! Source: the OpenAI API reference (`/v1/audio/*`, `/v1/images/*`). Requests are forms or JSON, answers JSON, streams or media.

use super::answer::{self, Answer};
use super::family::{Event, Family};
use super::squeeze::Keep;
use super::{json, openai_chat, parts, request};
use crate::call::{Call, Results};
use serde_json::Value;

#[derive(Debug)]
pub struct Media {
    /// `transcription`, `translation`, `speech`, `image_generation`, `image_edit`.
    pub operation: &'static str,
}

impl Media {
    fn pictures(&self) -> bool {
        self.operation.starts_with("image")
    }
}

impl Family for Media {
    fn names(&self) -> (&'static str, &'static str) {
        match self.pictures() {
            true => ("openai_images", self.operation),
            false => ("openai_audio", self.operation),
        }
    }

    fn terminator(&self) -> Option<&'static [u8]> {
        Some(b"[DONE]")
    }

    fn takes_forms(&self) -> bool {
        true
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        let prompt = if self.operation == "speech" {
            "input"
        } else {
            "prompt"
        };
        call.prompt_canonical = body.get(prompt).and_then(request::canonical);
    }

    fn keep(&self) -> Keep {
        // Below the size at which bodies are squeezed a picture is hashed; a larger one only counted.
        if self.pictures() { Keep::Shape } else { Keep::Text }
    }

    /// `response_format` may be `text`, `srt` or `vtt`.
    fn text(&mut self, answer: &mut Answer, text: &str) -> bool {
        let spoken = ["transcription", "translation"].contains(&self.operation);
        spoken && answer.text(0, text.trim_end())
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        openai_chat::identity(call, event);
        if let Some(usage) = event.get("usage") {
            answer::usage(call, usage);
        }
        if self.pictures() {
            return pictures(call, answer, event);
        }
        let kind = json::text(event, "type").unwrap_or_default();
        if kind == "transcript.text.delta" {
            return Event::spoke(answer.text(0, json::text(event, "delta").unwrap_or_default()));
        }
        if let Some(text) = json::text(event, "text") {
            answer.whole_text(0, text);
            return Event::last(false);
        }
        Event {
            spoke: kind == "speech.audio.delta",
            last: kind.ends_with(".done"),
        }
    }
}

fn pictures(call: &mut Call, answer: &mut Answer, event: &Value) -> Event {
    let squeezed = answer.shape.longest_string > 0;
    let list = event.get("data").and_then(Value::as_array);
    if let Some(list) = list {
        call.results = Some(Results {
            count: list.len() as u64,
            dimensions: None,
        });
    }
    for picture in list.into_iter().flatten() {
        if let Some(data) = json::text(picture, "b64_json").filter(|_| !squeezed) {
            parts::inline(call, "image", "response", None, data);
        }
    }
    if squeezed {
        call.note("attachments_over_cap");
    }
    Event::last(false)
}
