//! What servers say that they serve, from the answers to others' questions.
//!
//! In: answers of metadata paths. Out: one [`Inventory`] each, with what changes at every call left out, so that equal states are equal.
//! Source: OpenAI's `/v1/models` and what vLLM, SGLang, llama.cpp and LM Studio add; llama.cpp `/props`; Ollama `/api/{tags,ps,show,version}`;
//! TGI and TEI `/info`; SGLang `/get_server_info`, `/get_model_info`; Triton `/v2/models/:m`.

use super::answer::Answer;
use super::family::{Event, Family};
use super::{json, squeeze::Keep};
use crate::call::{Call, Inventory, ModelEntry};
use crate::limits::{self, cut};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Which answer it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    Models,
    Props,
    OllamaTags,
    OllamaPs,
    OllamaShow,
    Version,
    Info,
    ServerInfo,
    KServe,
    Lora,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Props => "llama_cpp_props",
            Self::OllamaTags => "ollama_tags",
            Self::OllamaPs => "ollama_ps",
            Self::OllamaShow => "ollama_show",
            Self::Version => "version",
            Self::Info => "info",
            Self::ServerInfo => "server_info",
            Self::KServe => "kserve_model",
            Self::Lora => "lora_adapters",
        }
    }
}

#[derive(Debug)]
pub struct Question {
    source: Source,
    /// What the question was about, if it was about one model.
    model: Option<String>,
    told: Option<Inventory>,
}

impl Question {
    pub fn new(source: Source, path: &str) -> Self {
        let mut segments = path.split('/').skip_while(|segment| *segment != "models").skip(1);
        Self {
            source,
            model: segments.next().filter(|model| !model.is_empty()).map(cut),
            told: None,
        }
    }
}

impl Family for Question {
    fn names(&self) -> (&'static str, &'static str) {
        ("inventory", self.source.name())
    }

    fn keep(&self) -> Keep {
        // Templates are texts.
        Keep::Text
    }

    fn request(&mut self, _call: &mut Call, body: &Value) {
        let asked = json::word_of(body, "model").or_else(|| json::word_of(body, "name"));
        self.model = asked.or(self.model.take());
    }

    fn event(&mut self, _call: &mut Call, _answer: &mut Answer, event: &Value, _streamed: bool) -> Event {
        let mut inventory = read(self.source, event, self.model.as_deref());
        inventory.source = self.source.name();
        inventory.models.sort();
        inventory.models.dedup();
        inventory.truncated |= inventory.models.len() > limits::INVENTORY_MODELS;
        inventory.models.truncate(limits::INVENTORY_MODELS);
        self.told = Some(inventory);
        Event::last(false)
    }

    fn finish(&mut self, call: &mut Call, _answer: &mut Answer) {
        // A refusal tells nothing of the models.
        let told = self.told.take().filter(|_| call.error.is_none());
        call.inventory = told.filter(|told| !told.models.is_empty() || told.server_version.is_some());
    }
}

fn read(source: Source, event: &Value, asked: Option<&str>) -> Inventory {
    let mut inventory = Inventory::default();
    let version = |name: &str| json::word_of(event, name);
    match source {
        Source::Models => {
            let list = ["data", "models"]
                .iter()
                .find_map(|name| event.get(*name)?.as_array());
            match list {
                Some(list) => inventory.models = list.iter().filter_map(model).collect(),
                None => inventory.models.extend(model(event)),
            }
            details(&mut inventory.models, event.get("models"));
        }
        Source::OllamaTags => inventory.models = json::list(event, "models").filter_map(model).collect(),
        Source::OllamaPs => {
            let running = json::list(event, "models").filter_map(model);
            inventory.models = running
                .map(|entry| ModelEntry {
                    loaded: Some(true),
                    ..entry
                })
                .collect();
        }
        Source::OllamaShow => inventory.models.extend(show(event, asked)),
        Source::Props => {
            inventory.server_version = version("build_info");
            inventory.models.extend(props(event));
        }
        Source::Version => inventory.server_version = version("version"),
        Source::Info => {
            inventory.server_version = version("version").or_else(|| version("docker_label"));
            inventory.models.extend(info(event));
        }
        Source::ServerInfo => {
            inventory.server_version = version("version").or_else(|| version("sglang_version"));
            inventory.models.extend(server_info(event));
        }
        Source::KServe => inventory.models.extend(kserve(event)),
        Source::Lora => inventory.models = json::elements(Some(event)).filter_map(adapter).collect(),
    }
    inventory
}

/// The first of several members that is there.
fn first(value: &Value, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| json::word_of(value, name))
}

/// An entry of a list of models: OpenAI's `data[]`, Ollama's and LM Studio's `models[]`.
fn model(entry: &Value) -> Option<ModelEntry> {
    let null = Value::Null;
    let (details, meta) = (
        entry.get("details").unwrap_or(&null),
        entry.get("meta").unwrap_or(&null),
    );
    let state = json::text(entry, "state")
        .or_else(|| json::at(entry, &["status"]).and_then(|s| json::text(s, "value")));
    let instances = entry
        .get("loaded_instances")
        .and_then(Value::as_array)
        .map(|list| !list.is_empty());
    Some(ModelEntry {
        name: first(entry, &["id", "name", "model", "key"])?,
        digest: first(entry, &["digest"]),
        path: first(entry, &["root", "path"]),
        architecture: first(entry, &["arch", "architecture"]).or_else(|| first(details, &["family"])),
        quantisation: first(entry, &["quantization"])
            .or_else(|| first(details, &["quantization_level"]))
            .or_else(|| first(meta, &["ftype"]))
            .or_else(|| entry.get("quantization").and_then(|q| first(q, &["name"]))),
        parent: first(entry, &["parent"]).or_else(|| first(details, &["parent_model"])),
        context_length: json::number(entry, "max_model_len")
            .or_else(|| json::number(entry, "max_context_length"))
            .or_else(|| json::number(entry, "context_length"))
            .or_else(|| json::number(meta, "n_ctx_train")),
        size_bytes: json::number(entry, "size")
            .or_else(|| json::number(entry, "size_bytes"))
            .or_else(|| json::number(meta, "size")),
        loaded: state.map(|state| state == "loaded").or(instances),
        template_sha256: None,
    })
}

/// llama.cpp has a second list beside `data` with what Ollama would say of each model.
fn details(models: &mut [ModelEntry], list: Option<&Value>) {
    for other in json::elements(list).filter_map(model) {
        if let Some(entry) = models.iter_mut().find(|entry| entry.name == other.name) {
            entry.quantisation = entry.quantisation.take().or(other.quantisation);
            entry.architecture = entry.architecture.take().or(other.architecture);
        }
    }
}

fn digest_of(text: Option<&str>) -> Option<[u8; 32]> {
    text.filter(|text| !text.is_empty())
        .map(|text| Sha256::digest(text).into())
}

/// `/api/show` names the blob of the weights in its modelfile: `FROM /.../sha256-...`.
fn show(event: &Value, asked: Option<&str>) -> Option<ModelEntry> {
    let null = Value::Null;
    let details = event.get("details").unwrap_or(&null);
    let from = json::text(event, "modelfile")
        .and_then(|file| file.lines().find_map(|line| line.strip_prefix("FROM ")))
        .map(str::trim);
    let digest = from.and_then(|from| from.rsplit('/').next()?.strip_prefix("sha256-"));
    Some(ModelEntry {
        name: cut(asked?),
        digest: digest.map(|digest| cut(&format!("sha256:{digest}"))),
        path: from.map(cut),
        architecture: first(details, &["family"]),
        quantisation: first(details, &["quantization_level"]),
        parent: first(details, &["parent_model"]),
        template_sha256: digest_of(json::text(event, "template")),
        ..ModelEntry::default()
    })
}

fn props(event: &Value) -> Option<ModelEntry> {
    let path = first(event, &["model_path"]);
    let settings = event.get("default_generation_settings");
    Some(ModelEntry {
        name: first(event, &["model_alias"]).or_else(|| path.clone())?,
        path,
        quantisation: first(event, &["model_ftype"]),
        context_length: settings.and_then(|settings| json::number(settings, "n_ctx")),
        loaded: event
            .get("is_sleeping")
            .and_then(Value::as_bool)
            .map(|sleeping| !sleeping),
        template_sha256: digest_of(json::text(event, "chat_template")),
        ..ModelEntry::default()
    })
}

fn info(event: &Value) -> Option<ModelEntry> {
    Some(ModelEntry {
        name: first(event, &["model_id"])?,
        digest: first(event, &["model_sha"]),
        quantisation: first(event, &["quantize", "model_dtype"]),
        context_length: json::number(event, "max_total_tokens")
            .or_else(|| json::number(event, "max_input_length")),
        ..ModelEntry::default()
    })
}

fn server_info(event: &Value) -> Option<ModelEntry> {
    let path = first(event, &["model_path"]);
    Some(ModelEntry {
        name: first(event, &["served_model_name"]).or_else(|| path.clone())?,
        digest: first(event, &["weight_version", "revision"]),
        path,
        quantisation: first(event, &["quantization", "dtype"]),
        context_length: json::number(event, "context_length"),
        ..ModelEntry::default()
    })
}

fn kserve(event: &Value) -> Option<ModelEntry> {
    let versions = json::list(event, "versions")
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join(",");
    Some(ModelEntry {
        name: first(event, &["name"])?,
        digest: (!versions.is_empty()).then(|| cut(&format!("versions:{versions}"))),
        architecture: first(event, &["platform"]),
        ..ModelEntry::default()
    })
}

/// llama.cpp: `[{id, path, scale}]`; an adapter with a scale of zero does nothing.
fn adapter(entry: &Value) -> Option<ModelEntry> {
    Some(ModelEntry {
        name: format!("lora:{}", json::number(entry, "id")?),
        path: first(entry, &["path"]),
        loaded: entry
            .get("scale")
            .and_then(Value::as_f64)
            .map(|scale| scale != 0.0),
        ..ModelEntry::default()
    })
}
