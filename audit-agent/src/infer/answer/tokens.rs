//! Token counts as servers write them.

use crate::call::{Call, TokensSource};
use crate::infer::json;
use serde_json::Value;

/// Token counts of a `usage` object; a later one replaces an earlier one.
pub fn usage(call: &mut Call, usage: &Value) {
    let input = json::number(usage, "prompt_tokens").or_else(|| json::number(usage, "input_tokens"));
    let output = json::number(usage, "completion_tokens").or_else(|| json::number(usage, "output_tokens"));
    let all = json::number(usage, "total_tokens");
    if input.is_none() && output.is_none() && all.is_none() {
        return;
    }
    let detail =
        |object: &str, name: &str| json::at(usage, &[object]).and_then(|details| json::number(details, name));
    call.tokens_source = TokensSource::ServerUsage;
    // Rerankers and embedders of some servers tell the total only, and have no output.
    call.input_tokens = input.or(call.input_tokens).or(all.filter(|_| output.is_none()));
    call.output_tokens = output.or(call.output_tokens);
    call.cached_tokens = detail("prompt_tokens_details", "cached_tokens")
        .or_else(|| detail("input_tokens_details", "cached_tokens"))
        // Realtime.
        .or_else(|| detail("input_token_details", "cached_tokens"))
        .or(call.cached_tokens);
    call.reasoning_tokens = detail("completion_tokens_details", "reasoning_tokens")
        .or_else(|| detail("output_tokens_details", "reasoning_tokens"))
        .or_else(|| json::number(usage, "reasoning_tokens"))
        .or(call.reasoning_tokens);
    // mistral.rs: seconds.
    for (name, member) in [
        ("total_prompt_time_sec", "prompt"),
        ("total_completion_time_sec", "generation"),
        ("total_time_sec", "total"),
    ] {
        timed(call, member, json::micros(usage, name, 1e6));
    }
}

/// A time by the server's clock.
pub fn timed(call: &mut Call, member: &'static str, micros: Option<u64>) {
    if let Some(micros) = micros {
        call.server_timing_us.insert(member, micros);
    }
}

/// llama.cpp's `timings`: `prompt_n` leaves out what came from the cache. `usage` goes before it.
pub fn timings(call: &mut Call, timings: &Value) {
    let cached = json::number(timings, "cache_n");
    call.cached_tokens = call.cached_tokens.or(cached);
    let prompt = json::number(timings, "prompt_n").map(|n| n.saturating_add(cached.unwrap_or(0)));
    let predicted = json::number(timings, "predicted_n");
    timed(call, "prompt", json::micros(timings, "prompt_ms", 1e3));
    timed(call, "generation", json::micros(timings, "predicted_ms", 1e3));
    if prompt.is_some() || predicted.is_some() {
        // With each token they grow; a `usage` or the sum of several answers is never less.
        call.input_tokens = call.input_tokens.max(prompt);
        call.output_tokens = call.output_tokens.max(predicted);
        call.tokens_source = TokensSource::ServerUsage;
    }
}
