//! What the requests of all families have in common: parameters, prompt, end user, session.

use super::{json, parts};
use crate::call::Call;
use crate::limits::cut;
use crate::record::INTEGER_MAX;
use serde_json::Value;

/// Parameters that go into records as they were sent. A list, since other members may hold prompts or secrets.
const PARAMS: &[&str] = &[
    "adapter_id",
    "add_generation_prompt",
    "add_special",
    "aspect_ratio",
    "background",
    "best_of",
    "cache_prompt",
    "chunking_strategy",
    "continue_final_message",
    "decoder_input_details",
    "details",
    "dimensions",
    "do_sample",
    "dry_multiplier",
    "dynatemp_range",
    "echo",
    "encoding_format",
    "frequency_penalty",
    "id_slot",
    "ignore_eos",
    "include_reasoning",
    "keep_alive",
    "language",
    "length_penalty",
    "logprobs",
    "lora_path",
    "max_completion_tokens",
    "max_new_tokens",
    "max_output_tokens",
    "max_tokens",
    "min_p",
    "min_tokens",
    "mirostat",
    "mirostat_eta",
    "mirostat_tau",
    "n",
    "n_cache_reuse",
    "n_discard",
    "n_indent",
    "n_keep",
    "n_predict",
    "n_probs",
    "normalize",
    "num_batch",
    "num_ctx",
    "num_gpu",
    "num_keep",
    "num_predict",
    "num_thread",
    "output_format",
    "parallel_tool_calls",
    "pooling_type",
    "presence_penalty",
    "priority",
    "prompt_name",
    "quality",
    "raw",
    "raw_scores",
    "reasoning",
    "reasoning_budget_tokens",
    "reasoning_effort",
    "reasoning_format",
    "repeat_last_n",
    "repeat_penalty",
    "repetition_penalty",
    "return_documents",
    "return_full_text",
    "return_logprob",
    "return_text",
    "return_token_ids",
    "return_tokens",
    "seed",
    "service_tier",
    "shift",
    "size",
    "skip_special_tokens",
    "speed",
    "stop",
    "stop_sequences",
    "store",
    "stream",
    "temperature",
    "think",
    "timings_per_token",
    "tool_choice",
    "top_k",
    "top_logprobs",
    "top_logprobs_num",
    "top_n",
    "top_n_tokens",
    "top_p",
    "truncate",
    "truncate_prompt_tokens",
    "truncation",
    "truncation_direction",
    "typical_p",
    "use_beam_search",
    "voice",
    "watermark",
];

/// Bytes that most prompts need in canonical form.
const PROMPT_BYTES: usize = 1024;

/// Longest parameter that is copied, as JSON.
const PARAM_BYTES: usize = 256;

/// Fills what the request says; `prompt` names the member that holds the prompt.
pub fn read(call: &mut Call, body: &Value, prompt: &str) {
    common(call, body);
    let Some(prompt) = body.get(prompt) else { return };
    call.prompt_canonical = canonical(prompt);
    parts::messages(call, prompt);
}

/// What a request says besides its prompt.
pub fn common(call: &mut Call, body: &Value) {
    call.model_requested = json::word_of(body, "model").or(call.model_requested.take());
    call.stream = body.get("stream").and_then(Value::as_bool);
    params(call, body);
    call.end_user = end_user(body);
    for format in ["response_format", "format"] {
        let kind = body.get(format).and_then(|format| json::text(format, "type"));
        if let Some(kind) = kind.or_else(|| json::text(body, format)) {
            call.params
                .insert("response_format".into(), Value::from(cut(kind)));
        }
    }
    let offered = body.get("tools").or_else(|| body.get("functions"));
    call.tools_offered = json::elements(offered).count() as u64;
    let text = |name: &str| json::word_of(body, name);
    call.thread.session = call.thread.session.take().or_else(|| text("session_id"));
    call.thread.conversation_id = text("conversation").or_else(|| {
        json::at(body, &["conversation"]).and_then(|conversation| json::word_of(conversation, "id"))
    });
    call.thread.previous_response_id = text("previous_response_id");
    call.adapter = text("lora_path")
        .or_else(|| text("adapter_id"))
        .or_else(|| adapters(body.get("lora")));
    call.chat_template = json::text(body, "chat_template").map(|template| template.as_bytes().to_vec());
}

/// The RFC 8785 form of a prompt.
pub fn canonical(prompt: &Value) -> Option<Vec<u8>> {
    if !is_plain(prompt) {
        return serde_json_canonicalizer::to_vec(prompt).ok();
    }
    let mut bytes = Vec::with_capacity(PROMPT_BYTES);
    serde_json::to_writer(&mut bytes, prompt).ok()?;
    Some(bytes)
}

/// Whether the plain encoder writes the canonical form, in a fraction of the time: whole numbers that are exact, names whose bytes
/// are in the same order as their UTF-16 code units.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Number(number) => number
            .as_i64()
            .is_some_and(|number| number.unsigned_abs() <= INTEGER_MAX),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| name.is_ascii() && is_plain(value)),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// The canonical form of several members that make up a prompt together, those that are there.
pub fn canonical_of(body: &Value, members: &[&str]) -> Option<Vec<u8>> {
    let there = members
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone())));
    let prompt: serde_json::Map<String, Value> = there.collect();
    (!prompt.is_empty())
        .then(|| canonical(&Value::Object(prompt)))
        .flatten()
}

/// Copies the parameters of `body` that are on the list.
pub fn params(call: &mut Call, body: &Value) {
    let Some(members) = body.as_object() else { return };
    for (name, value) in members {
        if PARAMS.binary_search(&name.as_str()).is_err() {
            continue;
        }
        if small(value) {
            call.params.insert(name.clone(), value.clone());
        } else {
            call.note("param_over_cap");
        }
    }
}

/// Whether a value is short as JSON; without writing it, for what obviously is.
fn small(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= PARAM_BYTES,
        other => other.to_string().len() <= PARAM_BYTES,
    }
}

/// llama.cpp: `[{id, scale}]`.
fn adapters(lora: Option<&Value>) -> Option<String> {
    let text = lora
        .filter(|lora| json::elements(Some(lora)).next().is_some())?
        .to_string();
    Some(cut(&text))
}

fn end_user(body: &Value) -> Option<(&'static str, String)> {
    let of = |name: &'static str| json::word_of(body, name).map(|user| (name, user));
    let in_metadata = || {
        body.get("metadata")
            .and_then(|metadata| json::word_of(metadata, "user_id"))
    };
    of("user")
        .or_else(|| of("safety_identifier"))
        .or_else(|| in_metadata().map(|user| ("metadata.user_id", user)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_list_of_parameters_can_be_searched() {
        assert!(PARAMS.is_sorted());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-9i64..9).prop_map(|step| Value::from(step.signum() * (1 << 53) + step)),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn prompts_are_in_the_form_of_rfc_8785(value in value()) {
            prop_assert_eq!(canonical(&value), serde_json_canonicalizer::to_vec(&value).ok());
        }
    }
}
