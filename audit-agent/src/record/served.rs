//! What servers serve, and who changed it.

use super::inference::{Capture, Client, Endpoint, Inference, Server, Workload};
use crate::call;
use serde::Serialize;

/// Somebody asked a server to change what it serves. See `docs/record-format.md` for each member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Admin {
    pub action: String,
    pub api_key_hash: Option<String>,
    pub capture: Capture,
    pub client: Client,
    pub completeness: String,
    pub digest: Option<String>,
    pub end_time: String,
    pub endpoint: Endpoint,
    pub error_message: Option<String>,
    pub error_type: Option<String>,
    pub hash_alg: String,
    pub latency_us: u64,
    pub model: Option<String>,
    pub request_body_hash: Option<String>,
    pub request_id: Option<String>,
    pub salt_id: String,
    pub server: Server,
    pub source: Option<String>,
    pub start_time: String,
    pub status: Option<u64>,
    pub user_agent: Option<String>,
    pub user_id: Option<String>,
    pub user_id_source: String,
    pub workload: Workload,
}

impl Admin {
    /// Who asked, when and with what result is said as of an inference.
    pub fn new(admin: &call::Admin, exchange: Inference) -> Self {
        Self {
            action: admin.action.into(),
            api_key_hash: exchange.api_key_hash,
            capture: exchange.capture,
            client: exchange.client,
            completeness: exchange.completeness,
            digest: admin.digest.clone(),
            end_time: exchange.end_time,
            endpoint: exchange.endpoint,
            error_message: exchange.error_message,
            error_type: exchange.error_type,
            hash_alg: exchange.hash_alg,
            latency_us: exchange.latency_us,
            model: admin.model.clone(),
            request_body_hash: exchange.request_body_hash,
            request_id: exchange.request_id,
            salt_id: exchange.salt_id,
            server: exchange.server,
            source: admin.source.clone(),
            start_time: exchange.start_time,
            status: exchange.status,
            user_agent: exchange.user_agent,
            user_id: exchange.user_id,
            user_id_source: exchange.user_id_source,
            workload: exchange.workload,
        }
    }
}

/// What a server said that it serves, when that was news.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inventory {
    pub endpoint: Endpoint,
    pub models: Vec<ServedModel>,
    pub server: Server,
    pub server_version: Option<String>,
    pub source: String,
    pub truncated: bool,
    pub workload: Workload,
}

/// One model that is served.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ServedModel {
    pub architecture: Option<String>,
    pub context_length: Option<u64>,
    pub digest: Option<String>,
    pub loaded: Option<bool>,
    pub name: String,
    pub parent: Option<String>,
    pub path: Option<String>,
    pub quantisation: Option<String>,
    /// What the digest was under the same name, when it is another one now.
    pub replaces: Option<String>,
    /// When this digest was first seen under this name.
    pub since: String,
    pub size_bytes: Option<u64>,
    pub template_hash: Option<String>,
}
