//! A finished exchange and what is known of its surroundings, put together as a record.

mod seen;
mod weights;

use super::connection::Connection;
use super::exchange::Finished;
use super::hops::Link;
use super::inventory::Seen;
use super::processes::Processes;
use crate::call::{self, Call, TokensSource};
use crate::event::SystemFact;
use crate::http::BodyState;
use crate::limits::cut;
use crate::record::hash::{Hasher, Subject};
use crate::record::inference::{
    Attachment, Client, Confidence, Endpoint, Inference, Results, Server, ToolCall, Upstream, WeightsFile,
};
use crate::record::served::{Inventory, ServedModel};
use crate::record::{INTEGER_MAX, rfc3339};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a record needs besides the exchange.
pub struct Surroundings<'a> {
    pub connection: &'a Connection,
    pub exchange_id: String,
    pub link: Link,
    pub processes: &'a Processes,
    pub system: SystemFact,
    pub hasher: &'a Hasher,
    pub capture_path: &'a str,
    /// Wall clock minus boot clock.
    pub unix_offset_ns: i128,
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// The wall-clock time of a boot time.
pub fn unix_ns(boot_ns: u64, offset_ns: i128) -> u64 {
    u64::try_from(i128::from(boot_ns) + offset_ns).unwrap_or(0)
}

pub fn inference(finished: &Finished, around: &Surroundings<'_>) -> Inference {
    let mut record = Inference::default();
    exchange(&mut record, finished, around);
    call(&mut record, finished, around.hasher);
    cause(&mut record, around);
    who(&mut record, finished, around);
    model(&mut record, &finished.call, around);
    record.capture = seen::capture(finished, around);
    record.completeness = completeness(&record).into();
    record
}

fn exchange(record: &mut Inference, finished: &Finished, around: &Surroundings<'_>) {
    let time = |boot_ns: u64| rfc3339(unix_ns(boot_ns, around.unix_offset_ns));
    let micros = |from: u64, to: u64| to.saturating_sub(from) / 1000;
    record.start_time = time(finished.start_ns);
    record.end_time = time(finished.end_ns);
    record.latency_us = micros(finished.start_ns, finished.end_ns);
    record.first_token_time = finished.call.first_token_ns.map(time);
    record.ttft_us = finished
        .call
        .first_token_ns
        .map(|first| micros(finished.asked_ns, first));
    record.endpoint = Endpoint {
        method: finished.method.clone(),
        path: finished.path.clone(),
        protocol: finished.protocol.name().into(),
    };
    record.status = finished.status.map(u64::from);
    record.request_id = finished.request_id.clone();
    record.traceparent = finished.traceparent.clone();
    record.user_agent = finished.user_agent.clone();
    record.hash_alg = around.hasher.algorithm().name().into();
    record.salt_id = around.hasher.salt_id().into();
    record.system = around.system.into();
    let whole = |end: &crate::http::BodyEnd| end.state == BodyState::Complete && end.body_bytes > 0;
    record.request_body_hash =
        whole(&finished.request).then(|| around.hasher.hash_of_digest(&finished.request.body_sha256));
    record.response_body_hash =
        whole(&finished.response).then(|| around.hasher.hash_of_digest(&finished.response.body_sha256));
}

fn cause(record: &mut Inference, around: &Surroundings<'_>) {
    let upstream = around.connection.upstream;
    record.exchange_id = around.exchange_id.clone();
    record.direction = if upstream { "upstream" } else { "inbound" }.into();
    record.link = around.link.how.into();
    record.caused_by = around.link.caused_by.clone();
    record.link_candidates = around.link.candidates.clone();
    record.hop = around.link.hop;
}

fn call(record: &mut Inference, finished: &Finished, hasher: &Hasher) {
    let call = &finished.call;
    record.api = call.api.into();
    record.operation = call.operation.into();
    record.provider = call.provider.map(Into::into);
    record.stream = call.stream;
    record.chunks = call.chunks;
    record.response_id = call.response_id.clone();
    record.system_fingerprint = call.system_fingerprint.clone();
    record.params = texts(&call.params);
    record.effective_params = texts(&call.effective_params);
    record.prompt_roles = call.prompt_roles.clone();
    record.tools_offered = call.tools_offered;
    let prompt_hash = || {
        let prompt = call.prompt_canonical.as_deref()?;
        Some(hasher.hash(Subject::Prompt, prompt))
    };
    record.prompt_hash = finished.prompt_hash.clone().or_else(prompt_hash);
    record.completion_hash = call
        .completion_canonical
        .as_deref()
        .map(|bytes| hasher.hash(Subject::Completion, bytes));
    record.input_tokens = call.input_tokens;
    record.output_tokens = call.output_tokens;
    record.cached_tokens = call.cached_tokens;
    record.reasoning_tokens = call.reasoning_tokens;
    record.tokens_source = match call.tokens_source {
        TokensSource::ServerUsage => Some("server_usage".into()),
        TokensSource::CountedTokens => Some("counted_tokens".into()),
        TokensSource::CountedChunks => Some("counted_chunks".into()),
        TokensSource::Unknown => None,
    };
    record.confidence = call.confidence.map(|confidence| Confidence {
        mean_logprob_micro: micro(confidence.mean_logprob),
        min_logprob_micro: micro(confidence.min_logprob),
        tokens: confidence.tokens,
    });
    record.error_type = call.error.as_ref().map(|error| error.kind.clone());
    record.error_message = call.error.as_ref().and_then(|error| error.message.clone());
    choices(record, call, hasher);
    special(record, call, hasher);
}

/// What only some APIs have.
fn special(record: &mut Inference, call: &Call, hasher: &Hasher) {
    let hashed =
        |subject: Subject, bytes: &Option<Vec<u8>>| bytes.as_deref().map(|bytes| hasher.hash(subject, bytes));
    record.adapter = call.adapter.clone();
    record.api_version = call.api_version.clone();
    record.inputs = call.inputs;
    record.results = call.results.map(|results| Results {
        count: results.count,
        dimensions: results.dimensions,
    });
    record.attachments = call
        .attachments
        .iter()
        .map(|attachment| self::attachment(attachment, hasher))
        .collect();
    record.rendered_prompt_hash = hashed(Subject::Prompt, &call.rendered_prompt);
    record.chat_template_hash = hashed(Subject::Template, &call.chat_template);
    let timing = call.server_timing_us.iter();
    record.server_timing_us = timing
        .map(|(name, us)| ((*name).to_owned(), (*us).min(INTEGER_MAX)))
        .collect();
    let thread = &call.thread;
    record.session_hash = thread
        .session
        .as_deref()
        .map(|id| hasher.hash(Subject::Session, id.as_bytes()));
    record.conversation_id = thread.conversation_id.clone();
    record.previous_response_id = thread.previous_response_id.clone();
    record.prompt_complete = thread.conversation_id.is_none() && thread.previous_response_id.is_none();
    let upstream = &call.upstream;
    record.upstream = (*upstream != call::Upstream::default()).then(|| Upstream {
        call_id: upstream.call_id.clone(),
        cost_usd: upstream.cost_usd.clone(),
        host: upstream.host.clone(),
        model: upstream.model.clone(),
        model_id: upstream.model_id.clone(),
        retry_count: upstream.retry_count,
    });
}

fn attachment(attachment: &call::Attachment, hasher: &Hasher) -> Attachment {
    Attachment {
        bytes: attachment.bytes,
        direction: attachment.direction.into(),
        hash: attachment
            .sha256
            .as_ref()
            .map(|digest| hasher.hash_of_digest(digest)),
        kind: attachment.kind.into(),
        mime: attachment.mime.clone(),
        source: attachment.source.into(),
    }
}

/// How much of the call there is, and if not all, why.
fn completeness(record: &Inference) -> &'static str {
    let capture = &record.capture;
    match (capture.state.as_str(), record.error_type.as_deref()) {
        ("partial" | "header_only", _) if capture.joined && capture.bytes_missed == 0 => "mid_connection",
        ("partial", _) => "truncated_capture",
        (_, Some("client_abort")) => "client_abort",
        (_, Some("no_terminator")) => "no_terminator",
        ("header_only", _) => "no_response",
        (_, Some(_)) => "server_error",
        _ if capture
            .notes
            .iter()
            .any(|note| note.ends_with("_over_cap") || note.ends_with("_not_whole")) =>
        {
            "truncated_capture"
        }
        _ => "complete",
    }
}

/// What a server said that it serves; `seen` tells what of each model is known from before.
pub fn inventory(
    finished: &Finished,
    told: &call::Inventory,
    seen: &[Seen],
    around: &Surroundings<'_>,
) -> Inventory {
    let mut record = Inference::default();
    who(&mut record, finished, around);
    let models = told.models.iter().zip(seen).map(|(model, seen)| ServedModel {
        architecture: model.architecture.clone(),
        context_length: model.context_length,
        digest: model.digest.clone(),
        loaded: model.loaded,
        name: model.name.clone(),
        parent: model.parent.clone(),
        path: model.path.clone(),
        quantisation: model.quantisation.clone(),
        replaces: seen.replaces.clone(),
        since: rfc3339(unix_ns(seen.since_ns, around.unix_offset_ns)),
        size_bytes: model.size_bytes,
        template_hash: model
            .template_sha256
            .as_ref()
            .map(|digest| around.hasher.hash_of_digest(digest)),
    });
    Inventory {
        endpoint: Endpoint {
            method: finished.method.clone(),
            path: finished.path.clone(),
            protocol: finished.protocol.name().into(),
        },
        models: models.collect(),
        server: record.server,
        server_version: told.server_version.clone(),
        source: told.source.into(),
        truncated: told.truncated,
        workload: record.workload,
    }
}

fn choices(record: &mut Inference, call: &Call, hasher: &Hasher) {
    let reasons = || {
        call.choices
            .iter()
            .filter_map(|choice| choice.finish_reason.as_deref())
    };
    record.finish_reasons_raw = reasons().map(Into::into).collect();
    record.finish_reasons = reasons().map(|reason| normal_reason(reason).into()).collect();
    let reasoning: String = call
        .choices
        .iter()
        .map(|choice| choice.reasoning.as_str())
        .collect();
    if !reasoning.is_empty() && call.completion_canonical.is_some() {
        record.reasoning_hash = Some(hasher.hash(Subject::Reasoning, reasoning.as_bytes()));
    }
    for tool in call.choices.iter().flat_map(|choice| &choice.tool_calls) {
        record.tool_calls.push(ToolCall {
            arguments_bytes: tool.arguments.len() as u64,
            arguments_hash: Some(hasher.hash(Subject::ToolArguments, tool.arguments.as_bytes())),
            id: tool.id.clone(),
            name: tool.name.clone(),
        });
    }
}

/// The normal form of what servers call the end of an answer.
fn normal_reason(raw: &str) -> &str {
    match raw {
        "stop" | "eos" | "eos_token" | "end_turn" | "word" | "stop_sequence" | "completed" => "stop",
        "length" | "limit" | "max_tokens" | "model_context_window_exceeded" | "incomplete" => "length",
        "tool_calls" | "tool_use" | "function_call" => "tool_calls",
        "content_filter" | "refusal" | "safety" => "content_filter",
        "error" | "failed" => "error",
        "abort" | "cancelled" | "canceled" => "cancelled",
        "load" | "unload" => raw,
        _ => "other",
    }
}

/// Millionths; the range of what a log-probability can be.
fn micro(value: f64) -> i64 {
    (value * 1e6).round().clamp(-1e15, 1e15) as i64
}

/// Parameters as text: numbers as they were written, strings without quotes.
fn texts(params: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let ascii = params.iter().filter(|(name, _)| name.is_ascii());
    ascii
        .map(|(name, value)| match value {
            Value::String(text) => (name.clone(), cut(text)),
            other => (name.clone(), cut(&other.to_string())),
        })
        .collect()
}

fn who(record: &mut Inference, finished: &Finished, around: &Surroundings<'_>) {
    let connection = around.connection;
    let process = |pid: Option<u32>| pid.and_then(|pid| around.processes.get(pid));
    let said = |pid: Option<u32>| pid.and_then(|pid| around.processes.said(pid));
    record.api_key_hash = finished.api_key_hash.clone();
    record.client = Client {
        address: connection.remote.map(|address| address.ip().to_string()),
        port: connection.remote.map(|address| address.port().into()),
        process: said(connection.client_pid).map(|said| said.process.clone()),
        uid: connection.peer_uid.map(u64::from),
        workload: said(connection.client_pid).map(|said| said.workload.clone()),
    };
    record.server = Server {
        address: connection.local.map(|address| address.ip().to_string()),
        port: connection.local.map(|address| address.port().into()),
        process: said(connection.server_pid).map(|said| said.process.clone()),
        unix_path: connection.unix_path.clone(),
    };
    record.workload = said(connection.server_pid)
        .map(|said| said.workload.clone())
        .unwrap_or_default();
    let named = finished
        .call
        .end_user
        .clone()
        .map(|(source, user)| (format!("body.{source}"), user));
    let named = named.or_else(|| {
        finished
            .user
            .clone()
            .map(|(source, user)| (format!("header.{source}"), user))
    });
    let local = || {
        process(connection.client_pid)
            .and_then(|fact| fact.uid)
            .or(connection.peer_uid)
    };
    (record.user_id, record.user_id_source) = match (named, local()) {
        (Some((source, user)), _) => (Some(around.hasher.hash(Subject::User, user.as_bytes())), source),
        (None, _) if record.api_key_hash.is_some() => (record.api_key_hash.clone(), "api_key".into()),
        (None, Some(uid)) => (Some(format!("uid:{uid}")), "peer_uid".into()),
        (None, None) => (None, "none".into()),
    };
}

fn model(record: &mut Inference, call: &Call, around: &Surroundings<'_>) {
    record.model_requested = call.model_requested.clone();
    record.model = call.model_served.clone().or_else(|| call.model_requested.clone());
    let server = around.connection.server_pid;
    let files = server.map_or(&[][..], |pid| around.processes.models(pid));
    record.model_files = files.iter().take(8).map(WeightsFile::from).collect();
    if let Some((version, source)) = weights::version(files) {
        record.model_version = version;
        record.model_version_source = Some(source.into());
    }
}
