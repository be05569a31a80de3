//! Requests that change what a server serves: models pulled, created, loaded, unloaded, deleted; adapters; weights.
//!
//! Source: Ollama `docs/api.md`; llama.cpp `tools/server/README.md` (router, `/lora-adapters`, `/slots`); vLLM `entrypoints/serve`; SGLang
//! `srt/entrypoints/http_server.py`; LocalAI `core/http/routes`; Triton `docs/protocol/extension_model_repository.md`.

use super::answer::Answer;
use super::family::{Event, Family};
use super::json;
use super::squeeze::Keep;
use crate::call::{Admin, Call, CallError};
use crate::http::target::bare_url;
use crate::limits::cut;
use serde_json::Value;

#[derive(Debug)]
pub struct Change {
    admin: Admin,
}

impl Change {
    /// `path` may name the model itself.
    pub fn new(action: &'static str, path: &str) -> Self {
        let model = segment_after(path, "models").filter(|_| action_in_path(path));
        Self {
            admin: Admin {
                action,
                model: model.map(cut),
                ..Admin::default()
            },
        }
    }
}

/// `/v2/repository/models/:m/load`: the model is the part before the last one.
fn action_in_path(path: &str) -> bool {
    path.contains("/repository/models/") || path.contains("/models/delete/")
}

fn segment_after<'a>(path: &'a str, what: &str) -> Option<&'a str> {
    let mut segments = path.split('/').skip_while(|segment| *segment != what).skip(1);
    let next = segments.next()?;
    if next == "delete" {
        segments.next()
    } else {
        Some(next)
    }
}

const MODELS: &[&str] = &[
    "model",
    "name",
    "lora_name",
    "destination",
    "model_name",
    "id",
    "model_id",
    "instance_id",
];
const SOURCES: &[&str] = &[
    "from",
    "source",
    "model_path",
    "lora_path",
    "path",
    "url",
    "insecure_url",
    "modelfile",
];

impl Family for Change {
    fn names(&self) -> (&'static str, &'static str) {
        ("admin", self.admin.action)
    }

    fn keep(&self) -> Keep {
        Keep::Shape
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        call.stream = body.get("stream").and_then(Value::as_bool);
        let first = |names: &[&str]| names.iter().find_map(|name| json::word_of(body, name));
        self.admin.model = self.admin.model.take().or_else(|| first(MODELS));
        self.admin.source = first(SOURCES)
            .filter(|source| Some(source) != self.admin.model.as_ref())
            .map(|source| bare_url(&source));
        self.admin.digest = json::word_of(body, "digest").or_else(|| {
            // Ollama: `files` and `adapters` map names to digests.
            let files = ["files", "adapters"]
                .iter()
                .find_map(|name| body.get(*name)?.as_object());
            files?.values().find_map(Value::as_str).map(cut)
        });
        // llama.cpp sets all adapters at once: `[{id, scale}]`.
        if body.is_array() {
            self.admin.source = Some(cut(&body.to_string()));
        }
    }

    /// vLLM: "Success: ...".
    fn text(&mut self, _answer: &mut Answer, _text: &str) -> bool {
        true
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let status = json::text(event, "status").unwrap_or_default();
        // A pull names each blob as it comes; the largest is the weights, and it comes first.
        let digest = json::word_of(event, "digest");
        self.admin.digest = self.admin.digest.take().or(digest);
        if event.get("success").and_then(Value::as_bool) == Some(false) {
            call.error.get_or_insert(CallError {
                kind: "refused".into(),
                message: json::word_of(event, "message"),
            });
        }
        if status == "success" || event.get("success").is_some() {
            answer.finish_reason(0, "stop");
        }
        Event {
            spoke: false,
            last: status == "success",
        }
    }

    fn finish(&mut self, call: &mut Call, _answer: &mut Answer) {
        call.model_requested = self.admin.model.clone();
        call.admin = Some(std::mem::take(&mut self.admin));
    }
}
