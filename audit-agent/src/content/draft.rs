//! What is to be stored of one exchange: taken from the call, masked, cut, written as JSON.
//!
//! In: a finished exchange. Out: an [`Object`]: the bytes that are encrypted, and what its record says of them. Pure.
//! Never: more than the configured most of a prompt or a completion; a cut before the mask, which could hide half of a find.

use super::Mode;
use crate::call::Choice;
use crate::http::{BodyEnd, BodyState};
use crate::pipeline::exchange::Finished;
use crate::policy::pii;
use crate::record::content::{Content, Part};
use serde_json::{Map, Value, json};

/// The text of one exchange.
#[derive(Clone, Debug)]
pub struct Draft {
    /// RFC 8785 JSON, when the request was seen whole and read.
    prompt: Option<Vec<u8>>,
    /// Else what was seen of its body.
    part: Option<Vec<u8>>,
    choices: Vec<Choice>,
    completion_whole: bool,
    request: BodyEnd,
    response: BodyEnd,
}

/// Ready to be encrypted.
#[derive(Clone, Debug)]
pub struct Object {
    /// `{"completion":...,"prompt":...,"prompt_text":...}`
    pub json: Vec<u8>,
    /// Without its place.
    pub content: Content,
}

impl Draft {
    pub fn of(finished: &Finished) -> Self {
        Self {
            prompt: finished.call.prompt_canonical.clone(),
            part: finished.request_part.clone(),
            choices: finished.call.choices.clone(),
            completion_whole: finished.call.completion_canonical.is_some(),
            request: finished.request,
            response: finished.response,
        }
    }

    /// Bytes of text that it holds, roughly.
    pub fn len(&self) -> usize {
        let texts = |choice: &Choice| choice.text.len() + choice.reasoning.len();
        let held = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        held(&self.prompt) + held(&self.part) + self.choices.iter().map(texts).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.choices.iter().all(|choice| choice.tool_calls.is_empty())
    }

    /// Masks where `mode` says so, then cuts each part at `most` bytes.
    pub fn object(self, mode: Mode, most: usize) -> Object {
        let mut masks = pii::Counts::new();
        let masks = &mut masks;
        let empty = self.is_empty();
        let mut json = Vec::with_capacity(self.len() + 256);
        json.extend(b"{\"completion\":");
        let completion = completion(&self, mode, most, masks, &mut json);
        json.extend(b",\"prompt\":");
        let prompt = prompt(self, mode, most, masks, &mut json);
        json.push(b'}');
        let content = Content {
            completion,
            prompt,
            masked: masks
                .iter()
                .map(|(kind, count)| ((*kind).to_owned(), *count))
                .collect(),
            mode: mode.name().into(),
            state: if empty { "empty" } else { "stored" }.into(),
            ..Content::default()
        };
        Object { json, content }
    }
}

/// Writes `<prompt>,"prompt_text":<text>`, of which one is null.
fn prompt(
    draft: Draft,
    mode: Mode,
    most: usize,
    masks: &mut pii::Counts,
    json: &mut Vec<u8>,
) -> Option<Part> {
    let missed_bytes = draft.request.missed_bytes;
    let (text, whole) = match (draft.prompt, draft.part) {
        (Some(canonical), _) => (redact_json(canonical, mode, masks), true),
        (None, Some(part)) => (
            redact_text(String::from_utf8_lossy(&part).into_owned(), mode, masks).into_bytes(),
            false,
        ),
        (None, None) => {
            json.extend(b"null,\"prompt_text\":null");
            return None;
        }
    };
    let length = text.len();
    let state = match (whole, length > most) {
        (true, false) => "whole",
        (_, true) => "cut",
        (false, false) => "part",
    };
    let bytes = if state == "whole" {
        json.extend(&text);
        json.extend(b",\"prompt_text\":null");
        length
    } else {
        let text = String::from_utf8_lossy(&text);
        let kept = head(&text, most);
        json.extend(b"null,\"prompt_text\":");
        json.extend(Value::from(kept).to_string().into_bytes());
        kept.len()
    };
    let known = whole || (draft.request.state == BodyState::Complete && missed_bytes == 0);
    Some(Part {
        bytes: bytes as u64,
        missed_bytes,
        of_bytes: if whole {
            Some(length as u64)
        } else {
            known.then_some(draft.request.body_bytes.max(length as u64))
        },
        state: state.into(),
    })
}

/// Writes the choices; their texts share the budget in their order.
fn completion(
    draft: &Draft,
    mode: Mode,
    most: usize,
    masks: &mut pii::Counts,
    json: &mut Vec<u8>,
) -> Option<Part> {
    if draft.choices.is_empty() {
        json.extend(b"null");
        return None;
    }
    let (mut bytes, mut of_bytes) = (0, 0);
    let mut keep = |text: &str, masks: &mut pii::Counts| {
        let text = redact_text(text.to_owned(), mode, masks);
        let kept = head(&text, most - bytes.min(most)).to_owned();
        bytes += kept.len();
        of_bytes += text.len();
        Value::from(kept)
    };
    let mut choices = Vec::new();
    for choice in &draft.choices {
        let text = keep(&choice.text, masks);
        let reasoning = keep(&choice.reasoning, masks);
        let tools = choice.tool_calls.iter().map(|tool| {
            let arguments = keep(&tool.arguments, masks);
            json!({"arguments": arguments, "id": tool.id, "name": tool.name})
        });
        let mut object = Map::new();
        object.insert("tool_calls".into(), tools.collect());
        object.insert("finish_reason".into(), json!(choice.finish_reason));
        object.insert("index".into(), json!(choice.index));
        object.insert("reasoning".into(), reasoning);
        object.insert("text".into(), text);
        choices.push(Value::Object(object));
    }
    json.extend(Value::Array(choices).to_string().into_bytes());
    let state = match (bytes < of_bytes, draft.completion_whole) {
        (true, _) => "cut",
        (false, true) => "whole",
        (false, false) => "part",
    };
    Some(Part {
        bytes: bytes as u64,
        missed_bytes: draft.response.missed_bytes,
        of_bytes: draft.completion_whole.then_some(of_bytes as u64),
        state: state.into(),
    })
}

fn redact_text(text: String, mode: Mode, masks: &mut pii::Counts) -> String {
    match mode {
        Mode::Redacted => pii::text(&text, masks),
        Mode::None | Mode::Hash | Mode::Full => text,
    }
}

fn redact_json(canonical: Vec<u8>, mode: Mode, masks: &mut pii::Counts) -> Vec<u8> {
    if mode != Mode::Redacted {
        return canonical;
    }
    match serde_json::from_slice(&canonical) {
        Ok(value) => pii::value(value, masks).to_string().into_bytes(),
        // The decoder wrote it as JSON; whatever is not is masked as text, and stored as JSON again.
        Err(_) => Value::from(pii::text(&String::from_utf8_lossy(&canonical), masks))
            .to_string()
            .into_bytes(),
    }
}

/// The first bytes of `text`, `most` at most, without half a character.
fn head(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
