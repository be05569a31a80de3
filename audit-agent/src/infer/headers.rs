//! What header fields say of a call beyond who asked, which the pipeline reads.
//!
//! In: heads of one exchange. Out: session, API version, proxy, the server's own timing. Never: credentials.

use crate::call::Call;
use crate::http::target::bare_url;
use crate::http::{Headers, RequestHead, ResponseHead};
use crate::limits::cut;

/// Clients name their session by these.
const SESSIONS: &[&str] = &[
    "mcp-session-id",
    "x-session-id",
    "session-id",
    "session_id",
    "helicone-session-id",
    "x-claude-code-session-id",
];

pub fn request(call: &mut Call, head: &RequestHead) {
    let first = |name: &str| head.headers.first(name).filter(|value| !value.is_empty());
    call.model_requested = in_path(head.path()).map(cut);
    call.thread.session = SESSIONS.iter().find_map(|name| first(name)).map(cut);
    call.api_version = first("anthropic-version")
        .or_else(|| first("mcp-protocol-version"))
        .map(cut);
    call.upstream.retry_count = first("x-stainless-retry-count").and_then(|count| count.parse().ok());
    // A proxy behind a proxy passes the id on.
    call.upstream.call_id = first("x-litellm-call-id").map(cut);
}

/// `/v1/engines/:m/completions`, Azure's `/openai/deployments/:m/chat/completions`: a body that names a model goes before it.
fn in_path(path: &str) -> Option<&str> {
    let mut segments = path
        .split('/')
        .skip_while(|segment| !["engines", "deployments"].contains(segment));
    segments.nth(1).filter(|model| !model.is_empty())
}

pub fn response(call: &mut Call, head: &ResponseHead) {
    let headers = &head.headers;
    let first = |name: &str| headers.first(name).filter(|value| !value.is_empty());
    if first("server") == Some("llama.cpp") {
        call.provider = Some("llama_cpp");
    }
    if first("x-compute-type").is_some() {
        let embeds = first("x-compute-tokens").is_some() || first("x-tokenization-time").is_some();
        call.provider = call.provider.or(Some(if embeds { "tei" } else { "tgi" }));
    }
    if first("x-litellm-call-id").is_some() {
        call.provider = call.provider.or(Some("litellm"));
    }
    let upstream = &mut call.upstream;
    upstream.call_id = first("x-litellm-call-id").map(cut).or(upstream.call_id.take());
    upstream.model = first("x-litellm-model-name").map(cut).or(upstream.model.take());
    upstream.model_id = first("x-litellm-model-id").map(cut);
    upstream.cost_usd = first("x-litellm-response-cost")
        .filter(|cost| is_amount(cost))
        .map(cut);
    let base = first("x-litellm-model-api-base").map(|url| cut(&bare_url(url)));
    upstream.host = base.or(upstream.host.take());
    let session = first("mcp-session-id").map(cut);
    call.thread.session = call.thread.session.take().or(session);
    timing(call, headers);
}

/// A decimal number that is not below zero.
fn is_amount(text: &str) -> bool {
    text.parse::<f64>()
        .is_ok_and(|amount| amount.is_finite() && amount >= 0.0)
}

/// TGI and TEI: milliseconds, and tokens.
fn timing(call: &mut Call, headers: &Headers) {
    let number = |name: &str| {
        headers
            .first(name)
            .and_then(|value| value.trim().parse::<u64>().ok())
    };
    for (name, member) in [
        ("x-queue-time", "queue"),
        ("x-inference-time", "generation"),
        ("x-total-time", "total"),
    ] {
        if let Some(millis) = number(name).filter(|millis| *millis < crate::record::INTEGER_MAX / 1000) {
            call.server_timing_us.insert(member, millis * 1000);
        }
    }
    let known = |name: &str| number(name).filter(|count| *count <= crate::record::INTEGER_MAX);
    let prompt = known("x-prompt-tokens").or_else(|| known("x-compute-tokens"));
    let generated = known("x-generated-tokens");
    if prompt.is_some() || generated.is_some() {
        call.input_tokens = prompt;
        call.output_tokens = generated;
        call.tokens_source = crate::call::TokensSource::ServerUsage;
    }
}
