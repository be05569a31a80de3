//! What servers serve, and who changed it.

use super::inference::{Capture, Client, Endpoint, Inference, Server, Workload};
use crate::call;
use serde::Serialize;
use std::sync::Arc;

/// Somebody asked a server to change what it serves. See `docs/record-format.md` for each member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Admin {
    pub action: String,
    pub api_key_hash: Option<String>,
    pub capture: Capture,
    pub caused_by: Option<String>,
    pub client: Client,
    pub completeness: String,
    pub digest: Option<String>,
    pub direction: String,
    pub end_time: String,
    pub endpoint: Endpoint,
    pub error_message: Option<String>,
    pub error_type: Option<String>,
    pub exchange_id: String,
    pub hash_alg: String,
    pub hop: u64,
    pub latency_us: u64,
    pub link: String,
    pub link_candidates: Vec<String>,
    pub model: Option<String>,
    pub request_body_hash: Option<String>,
    pub request_id: Option<String>,
    pub salt_id: String,
    pub server: Server,
    pub source: Option<String>,
    pub start_time: String,
    pub status: Option<u64>,
    pub traceparent: Option<String>,
    pub user_agent: Option<String>,
    pub user_id: Option<String>,
    pub user_id_source: String,
    pub workload: Arc<Workload>,
}

impl Admin {
    /// Who asked, when and with what result is said as of an inference.
    pub fn new(admin: &call::Admin, exchange: Inference) -> Self {
        Self {
            action: admin.action.into(),
            api_key_hash: exchange.api_key_hash,
            capture: exchange.capture,
            caused_by: exchange.caused_by,
            client: exchange.client,
            completeness: exchange.completeness,
            digest: admin.digest.clone(),
            direction: exchange.direction,
            end_time: exchange.end_time,
            endpoint: exchange.endpoint,
            error_message: exchange.error_message,
            error_type: exchange.error_type,
            exchange_id: exchange.exchange_id,
            hash_alg: exchange.hash_alg,
            hop: exchange.hop,
            latency_us: exchange.latency_us,
            link: exchange.link,
            link_candidates: exchange.link_candidates,
            model: admin.model.clone(),
            request_body_hash: exchange.request_body_hash,
            request_id: exchange.request_id,
            salt_id: exchange.salt_id,
            server: exchange.server,
            source: admin.source.clone(),
            start_time: exchange.start_time,
            status: exchange.status,
            traceparent: exchange.traceparent,
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
    pub workload: Arc<Workload>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn an_admin_record_says_of_its_exchange_what_an_inference_would() {
        let exchange = Inference {
            exchange_id: "1f".repeat(16),
            caused_by: Some("2f".repeat(16)),
            link: "traceparent".into(),
            link_candidates: vec!["3f".repeat(16)],
            hop: 1,
            direction: "upstream".into(),
            traceparent: Some("00-01-02-01".into()),
            api_key_hash: Some("hmac-sha256:00".into()),
            ..Inference::default()
        };
        let inference = serde_json::to_value(&exchange).unwrap();
        let admin = serde_json::to_value(Admin::new(&call::Admin::default(), exchange)).unwrap();
        let own = ["action", "digest", "model", "source"];
        let mut members = admin.as_object().unwrap().clone();
        members.retain(|name, _| !own.contains(&name.as_str()));
        for (name, value) in &members {
            assert_eq!(Some(value), inference.get(name), "{name}");
        }
        let filled = members
            .values()
            .filter(|value| value.as_str().is_some_and(|text| !text.is_empty()));
        assert_eq!((filled.count(), &members["hop"]), (6, &Value::from(1)));
    }
}
