//! The record of one inference.

use crate::event::{ModelFile, ProcessFact, SystemFact, WorkloadFact};
use crate::limits::cut;
use crate::record::content::Content;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See `docs/record-format.md` for each member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inference {
    pub adapter: Option<String>,
    pub api: String,
    pub api_key_hash: Option<String>,
    pub api_version: Option<String>,
    pub attachments: Vec<Attachment>,
    pub cached_tokens: Option<u64>,
    pub capture: Capture,
    /// `exchange_id` of the call that this one was made for.
    pub caused_by: Option<String>,
    pub chat_template_hash: Option<String>,
    pub chunks: u64,
    pub client: Client,
    pub completeness: String,
    pub completion_hash: Option<String>,
    pub confidence: Option<Confidence>,
    /// None unless prompts and completions are stored.
    pub content: Option<Content>,
    pub conversation_id: Option<String>,
    /// `inbound`: seen at the server; `upstream`: seen at a server of this host that asks another host.
    pub direction: String,
    pub effective_params: BTreeMap<String, String>,
    pub end_time: String,
    pub endpoint: Endpoint,
    pub error_message: Option<String>,
    pub error_type: Option<String>,
    pub exchange_id: String,
    pub finish_reasons: Vec<String>,
    pub finish_reasons_raw: Vec<String>,
    pub first_token_time: Option<String>,
    pub hash_alg: String,
    /// 0 for an answer that nobody on this host asked for on behalf of another call.
    pub hop: u64,
    pub input_tokens: Option<u64>,
    pub inputs: Option<u64>,
    pub latency_us: u64,
    /// How `caused_by` was found, or why there is none.
    pub link: String,
    /// `exchange_id`s of calls that fit equally.
    pub link_candidates: Vec<String>,
    pub model: Option<String>,
    pub model_files: Vec<WeightsFile>,
    pub model_requested: Option<String>,
    pub model_version: Option<String>,
    pub model_version_source: Option<String>,
    pub operation: String,
    pub output_tokens: Option<u64>,
    pub params: BTreeMap<String, String>,
    pub previous_response_id: Option<String>,
    /// False when the server adds to the prompt what is not on the wire.
    pub prompt_complete: bool,
    pub prompt_hash: Option<String>,
    pub prompt_roles: BTreeMap<String, u64>,
    pub provider: Option<String>,
    pub reasoning_hash: Option<String>,
    pub reasoning_tokens: Option<u64>,
    pub rendered_prompt_hash: Option<String>,
    pub request_body_hash: Option<String>,
    pub request_id: Option<String>,
    pub response_body_hash: Option<String>,
    pub response_id: Option<String>,
    pub results: Option<Results>,
    pub salt_id: String,
    pub server: Server,
    pub server_timing_us: BTreeMap<String, u64>,
    pub session_hash: Option<String>,
    pub start_time: String,
    pub status: Option<u64>,
    pub stream: Option<bool>,
    pub system: System,
    pub system_fingerprint: Option<String>,
    pub tokens_source: Option<String>,
    pub tool_calls: Vec<ToolCall>,
    pub tools_offered: u64,
    pub traceparent: Option<String>,
    pub ttft_us: Option<u64>,
    pub upstream: Option<Upstream>,
    pub user_agent: Option<String>,
    pub user_id: Option<String>,
    pub user_id_source: String,
    pub workload: Arc<Workload>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Capture {
    pub bytes_missed: u64,
    pub bytes_seen: u64,
    /// Missing bytes by cause.
    pub gaps: BTreeMap<String, u64>,
    /// The connection was older than the agent's sight of it.
    pub joined: bool,
    pub notes: Vec<String>,
    pub request_state: String,
    pub response_state: String,
    pub source: String,
    /// `complete`, `partial`, `header_only`.
    pub state: String,
    /// None when the bytes were on the socket as they are.
    pub tls: Option<TlsCapture>,
}

/// The exchange was encrypted on the socket and seen in a TLS library.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TlsCapture {
    pub library: Option<String>,
    /// How the plaintext was tied to the socket: `call`, `thread`, `uncertain`, `unknown`.
    pub pairing: String,
    pub version: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Client {
    pub address: Option<String>,
    pub port: Option<u64>,
    pub process: Option<Arc<ProcessInfo>>,
    /// Peer credentials of a unix socket.
    pub uid: Option<u64>,
    /// Of a local client.
    pub workload: Option<Arc<Workload>>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Server {
    pub address: Option<String>,
    pub port: Option<u64>,
    pub process: Option<Arc<ProcessInfo>>,
    pub unix_path: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Confidence {
    /// Millionths of a natural logarithm.
    pub mean_logprob_micro: i64,
    pub min_logprob_micro: i64,
    pub tokens: u64,
}

/// Something of a message that is no text.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attachment {
    pub bytes: Option<u64>,
    pub direction: String,
    pub hash: Option<String>,
    pub kind: String,
    pub mime: Option<String>,
    pub source: String,
}

/// Answers that are no text.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Results {
    pub count: u64,
    pub dimensions: Option<u64>,
}

/// What is said of another server behind this one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Upstream {
    pub call_id: Option<String>,
    pub cost_usd: Option<String>,
    pub host: Option<String>,
    pub model: Option<String>,
    pub model_id: Option<String>,
    pub retry_count: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Endpoint {
    pub method: String,
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2`.
    pub protocol: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ToolCall {
    pub arguments_bytes: u64,
    pub arguments_hash: Option<String>,
    pub id: Option<String>,
    pub name: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ProcessInfo {
    pub ancestors: Vec<String>,
    pub argv: Vec<String>,
    pub comm: String,
    pub exe: Option<String>,
    pub exe_sha256: Option<String>,
    pub pid: u64,
    /// Nanoseconds of boot time, as a decimal string.
    pub start_ns: String,
    pub uid: Option<u64>,
    pub user: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Workload {
    pub cgroup: Option<String>,
    pub container_id: Option<String>,
    pub container_name: Option<String>,
    pub image: Option<String>,
    pub image_digest: Option<String>,
    pub image_id: Option<String>,
    pub pod_name: Option<String>,
    pub pod_namespace: Option<String>,
    pub pod_uid: Option<String>,
    pub runtime: Option<String>,
    pub systemd_unit: Option<String>,
    pub systemd_user_unit: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct WeightsFile {
    pub architecture: Option<String>,
    pub format: String,
    pub inode: u64,
    pub name: Option<String>,
    pub path: String,
    pub quantisation: Option<String>,
    pub sha256: Option<String>,
    pub size: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct System {
    pub cpus: u64,
    pub load1_centi: u64,
    pub memory_available_bytes: u64,
    pub memory_total_bytes: u64,
}

impl From<&ProcessFact> for ProcessInfo {
    fn from(fact: &ProcessFact) -> Self {
        const ARGS: usize = 32;
        Self {
            ancestors: fact.ancestors.clone(),
            argv: fact.argv.iter().take(ARGS).map(|arg| cut(arg)).collect(),
            comm: fact.comm.clone(),
            exe: fact.exe.clone(),
            exe_sha256: fact.exe_sha256.clone(),
            pid: fact.pid.into(),
            start_ns: fact.start_ns.to_string(),
            uid: fact.uid.map(u64::from),
            user: fact.user.clone(),
        }
    }
}

impl From<&WorkloadFact> for Workload {
    fn from(fact: &WorkloadFact) -> Self {
        let copy = |text: &Option<String>| text.as_deref().map(cut);
        Self {
            cgroup: copy(&fact.cgroup),
            container_id: copy(&fact.container_id),
            container_name: copy(&fact.container_name),
            image: copy(&fact.image),
            image_digest: copy(&fact.image_digest),
            image_id: copy(&fact.image_id),
            pod_name: copy(&fact.pod_name),
            pod_namespace: copy(&fact.pod_namespace),
            pod_uid: copy(&fact.pod_uid),
            runtime: copy(&fact.runtime),
            systemd_unit: copy(&fact.systemd_unit),
            systemd_user_unit: copy(&fact.systemd_user_unit),
        }
    }
}

impl From<&ModelFile> for WeightsFile {
    fn from(file: &ModelFile) -> Self {
        Self {
            architecture: file.architecture.as_deref().map(cut),
            format: file.format.clone(),
            inode: file.inode,
            name: file.name.as_deref().map(cut),
            path: cut(&file.path),
            quantisation: file.quantisation.clone(),
            sha256: file.sha256.clone(),
            size: file.size,
        }
    }
}

impl From<SystemFact> for System {
    fn from(fact: SystemFact) -> Self {
        Self {
            cpus: fact.cpus,
            load1_centi: fact.load1_centi,
            memory_available_bytes: fact.memory_available_bytes,
            memory_total_bytes: fact.memory_total_bytes,
        }
    }
}
