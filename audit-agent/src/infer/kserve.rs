//! KServe's open inference protocol, version 2, and Triton's `generate` beside it, over HTTP.
//!
//! Source: Triton `docs/protocol/extension_generate.md`, `extension_binary_data.md`; KServe `docs/predict-api/v2`. Model and version stand in
//! the path. Prompts and texts are elements of BYTES tensors; other tensors are only counted.

use super::answer::Answer;
use super::family::{Event, Family};
use super::squeeze::Keep;
use super::{json, request};
use crate::call::{Call, Results};
use crate::limits::cut;
use serde_json::{Map, Value};

#[derive(Debug)]
pub struct KServe {
    model: Option<String>,
    version: Option<String>,
    infer: bool,
    /// BYTES tensors of the request whose data follows the JSON: name and length; and of the answer.
    behind: Vec<(String, usize)>,
    answered: Vec<(String, usize)>,
}

impl KServe {
    /// `/v2/models/:m[/versions/:v]/infer`, with any prefix.
    pub fn new(path: &str) -> Self {
        let mut segments = path.split('/').skip_while(|segment| *segment != "models").skip(1);
        let model = segments.next().map(cut);
        let version = segments.clone().next().filter(|name| *name == "versions");
        Self {
            model,
            version: version.and_then(|_| segments.nth(1)).map(cut),
            infer: path.ends_with("/infer"),
            behind: Vec::new(),
            answered: Vec::new(),
        }
    }
}

impl Family for KServe {
    fn names(&self) -> (&'static str, &'static str) {
        match self.infer {
            true => ("kserve_infer", "infer"),
            false => ("kserve_generate", "text_completion"),
        }
    }

    fn ends_with_body(&self) -> bool {
        true
    }

    fn keep(&self) -> Keep {
        if self.infer { Keep::Shape } else { Keep::Text }
    }

    fn request(&mut self, call: &mut Call, body: &Value) {
        request::common(call, body);
        call.model_requested = self.model.clone();
        if let Some(version) = &self.version {
            call.params
                .insert("model_version".into(), Value::from(version.clone()));
        }
        if let Some(parameters) = body.get("parameters") {
            request::params(call, parameters);
        }
        if !self.infer {
            call.prompt_canonical = body.get("text_input").and_then(request::canonical);
            return;
        }
        call.inputs = Some(json::list(body, "inputs").count() as u64);
        let mut texts = Map::new();
        for tensor in texts_of(body, "inputs") {
            let name = json::text(tensor, "name").unwrap_or_default().to_owned();
            if let Some(data) = tensor.get("data") {
                texts.insert(name, data.clone());
            }
        }
        self.behind = behind(body, "inputs");
        call.prompt_canonical = (!texts.is_empty())
            .then(|| request::canonical(&Value::Object(texts)))
            .flatten();
        if json::list(body, "inputs").count() > 0 && call.prompt_canonical.is_none() && self.behind.is_empty()
        {
            call.note("no_text_inputs");
        }
    }

    fn binary(&mut self, call: &mut Call, data: &[u8]) {
        let Some(tensors) = tensors(&self.behind, data) else {
            return call.note("binary_tensors_not_read");
        };
        let texts = tensors
            .into_iter()
            .map(|(name, texts)| (name, Value::from(texts)));
        let texts: Map<String, Value> = texts.collect();
        call.prompt_canonical = request::canonical(&Value::Object(texts));
    }

    fn binary_answer(&mut self, call: &mut Call, answer: &mut Answer, data: &[u8]) {
        let Some(tensors) = tensors(&self.answered, data) else {
            return call.note("binary_tensors_not_read");
        };
        for text in tensors.iter().flat_map(|(_, texts)| texts) {
            answer.text(0, text);
        }
    }

    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event {
        call.model_served = json::word_of(event, "model_name").or(call.model_served.take());
        call.response_id = json::word_of(event, "id").or(call.response_id.take());
        if let Some(version) = json::text(event, "model_version") {
            call.effective_params
                .insert("model_version".into(), Value::from(cut(version)));
        }
        if !self.infer {
            let text = json::text(event, "text_output").unwrap_or_default();
            let spoke = match streamed {
                true => answer.cumulative_text(0, text),
                false => answer.text(0, text),
            };
            return Event::spoke(spoke);
        }
        call.results = Some(Results {
            count: json::list(event, "outputs").count() as u64,
            dimensions: None,
        });
        self.answered = behind(event, "outputs");
        let texts = texts_of(event, "outputs");
        for text in texts
            .flat_map(|tensor| json::list(tensor, "data"))
            .filter_map(Value::as_str)
        {
            answer.text(0, text);
        }
        Event::last(false)
    }
}

/// The tensors of a list that hold texts.
fn texts_of<'a>(body: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    json::list(body, list).filter(|tensor| json::text(tensor, "datatype") == Some("BYTES"))
}

/// Those of them whose data follows the JSON: name and length.
fn behind(body: &Value, list: &str) -> Vec<(String, usize)> {
    let sized = texts_of(body, list).filter_map(|tensor| {
        let len = json::number(tensor.get("parameters")?, "binary_data_size")?;
        let name = json::text(tensor, "name").unwrap_or_default().to_owned();
        Some((name, usize::try_from(len).unwrap_or(usize::MAX)))
    });
    sized.collect()
}

/// The texts of each tensor. Other tensors may lie between them, and only the JSON says of what length: then None.
fn tensors(behind: &[(String, usize)], data: &[u8]) -> Option<Vec<(String, Vec<String>)>> {
    let total = behind
        .iter()
        .fold(0_usize, |sum, (_, len)| sum.saturating_add(*len));
    if total != data.len() {
        return None;
    }
    let mut rest = data;
    let read = behind.iter().map(|(name, len)| {
        let (tensor, after) = rest.split_at((*len).min(rest.len()));
        rest = after;
        (name.clone(), elements(tensor))
    });
    Some(read.collect())
}

/// Each element has its length before it, as 4 bytes little endian.
pub fn elements(mut tensor: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    while let Some((len, rest)) = tensor.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let (text, after) = rest.split_at(len.min(rest.len()));
        out.push(String::from_utf8_lossy(text).into_owned());
        tensor = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_and_version_stand_in_the_path() {
        let of = |path: &str| {
            let family = KServe::new(path);
            (family.model, family.version, family.infer)
        };
        assert_eq!(of("/v2/models/m/infer"), (Some("m".into()), None, true));
        let versioned = of("/x/v2/models/m/versions/3/generate_stream");
        assert_eq!(versioned, (Some("m".into()), Some("3".into()), false));
    }

    #[test]
    fn elements_of_a_tensor_have_their_length_before_them() {
        assert_eq!(elements(b"\x02\0\0\0hi\x01\0\0\0!"), ["hi", "!"]);
        assert_eq!(elements(b"\xff\xff\xff\xffhi"), ["hi"]);
    }
}
