//! What the requests of all families have in common: parameters, prompt, end user.

use super::json;
use crate::call::Call;
use crate::limits::cut;
use serde_json::Value;

/// Parameters that go into records as they were sent. A list, since other members may hold prompts or secrets.
const PARAMS: &[&str] = &[
    "best_of",
    "cache_prompt",
    "dry_multiplier",
    "dynatemp_range",
    "echo",
    "frequency_penalty",
    "id_slot",
    "ignore_eos",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "min_p",
    "mirostat",
    "n",
    "n_keep",
    "n_predict",
    "n_probs",
    "parallel_tool_calls",
    "presence_penalty",
    "reasoning_effort",
    "reasoning_format",
    "repeat_penalty",
    "repetition_penalty",
    "return_tokens",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "temperature",
    "timings_per_token",
    "tool_choice",
    "top_k",
    "top_logprobs",
    "top_p",
    "typical_p",
];

/// Longest parameter that is copied, as JSON.
const PARAM_BYTES: usize = 256;

/// Fills what the request says; `prompt` names the member that holds the prompt.
pub fn read(call: &mut Call, body: &Value, prompt: &str) {
    call.model_requested = json::text(body, "model").map(cut);
    call.stream = body.get("stream").and_then(Value::as_bool);
    params(call, body);
    call.end_user = end_user(body);
    if let Some(kind) = body
        .get("response_format")
        .and_then(|format| json::text(format, "type"))
    {
        call.params
            .insert("response_format".into(), Value::from(cut(kind)));
    }
    let offered = body
        .get("tools")
        .or_else(|| body.get("functions"))
        .and_then(Value::as_array);
    call.tools_offered = offered.map_or(0, |tools| tools.len() as u64);
    let Some(prompt) = body.get(prompt) else { return };
    call.prompt_canonical = serde_json_canonicalizer::to_vec(prompt).ok();
    for message in prompt.as_array().into_iter().flatten() {
        if let Some(role) = json::text(message, "role") {
            *call.prompt_roles.entry(known_role(role).into()).or_default() += 1;
        }
    }
}

fn params(call: &mut Call, body: &Value) {
    for name in PARAMS {
        match body.get(name) {
            None => {}
            Some(value) if value.to_string().len() <= PARAM_BYTES => {
                call.params.insert((*name).into(), value.clone());
            }
            Some(_) => call.notes.push("param_over_cap"),
        }
    }
}

/// Roles are a few known words; another is counted without being copied.
fn known_role(role: &str) -> &str {
    match role {
        "system" | "developer" | "user" | "assistant" | "tool" | "function" => role,
        _ => "other",
    }
}

fn end_user(body: &Value) -> Option<(&'static str, String)> {
    let of = |name: &'static str| json::text(body, name).map(|user| (name, cut(user)));
    let in_metadata = || {
        body.get("metadata")
            .and_then(|metadata| json::text(metadata, "user_id"))
    };
    of("user")
        .or_else(|| of("safety_identifier"))
        .or_else(|| in_metadata().map(|user| ("metadata.user_id", cut(user))))
}
