//! Audit records: what a line of the log says. `docs/record-format.md` is normative.
//!
//! In: facts. Out: [`Body`]s, of which [`crate::ledger`] makes signed lines. Never: content, secrets, floats; a value
//! that is not known is null, and no member is ever left out.

pub mod action;
pub mod content;
pub mod hash;
pub mod inference;
pub mod person;
pub mod served;

pub use action::Action;
use serde::Serialize;
use std::collections::BTreeMap;

/// Schema of every record.
pub const SCHEMA: &str = "audit-agent/record/v1";

/// Largest integer that every JSON reader keeps (RFC 7493 section 2.2).
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// What a record says besides its place in the log.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "record_type", rename_all = "snake_case")]
pub enum Body {
    Inference(Box<inference::Inference>),
    Gap(Gap),
    Heartbeat(Heartbeat),
    AgentStart(AgentStart),
    AgentStop(AgentStop),
    Epoch(Epoch),
    Recovery(Recovery),
    Retention(Retention),
    Model(Model),
    Action(Box<Action>),
    Admin(Box<served::Admin>),
    Inventory(Box<served::Inventory>),
    Access(content::Access),
    Erasure(content::Erasure),
}

/// Something that was not recorded, and why.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Gap {
    /// `ring_buffer`, `decode`, `tls`, `reassembly`, `socket`, `sink`, `content`, `agent_down`, `clock`, `actions`.
    #[serde(rename = "where")]
    pub place: String,
    /// By reason: lost kernel events, refused records, unassigned messages.
    pub lost: BTreeMap<String, u64>,
    /// Stream bytes by the same reasons.
    pub lost_bytes: BTreeMap<String, u64>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub connection: Option<Connection>,
}

/// A connection that a gap is about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Connection {
    pub client: Option<String>,
    pub server: Option<String>,
    pub server_pid: Option<u64>,
}

/// The agent is alive; counters since its start.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Heartbeat {
    pub counters: BTreeMap<String, u64>,
    /// Seconds to the next one.
    pub heartbeat_s: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentStart {
    pub agent_sha256: Option<String>,
    pub agent_version: String,
    pub boot_id: String,
    pub capture_path: String,
    pub config_sha256: Option<String>,
    /// Seconds between heartbeats.
    pub heartbeat_s: u64,
    pub host: String,
    pub kernel: String,
    /// The public key of this log, as a C2SP verifier key.
    pub verifier_key: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct AgentStop {
    pub counters: BTreeMap<String, u64>,
    pub reason: String,
}

/// The key of this epoch names the key of the next one, and is erased.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Epoch {
    pub next_epoch: u64,
    /// As a C2SP verifier key.
    pub next_key: String,
}

/// The log's end was not whole when the agent opened it, or all of it was gone.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Recovery {
    /// SHA-256 of line 0 of the log that these keys began before and that is not there; `unknown` where that cannot be read.
    pub lost_first_line: Option<String>,
    /// Bytes of a last line that was not written whole, moved to `torn_file`.
    pub torn_bytes: u64,
    pub torn_file: Option<String>,
    pub torn_sha256: Option<String>,
}

/// Files are deleted behind this record.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Retention {
    /// What is free when they are gone.
    pub bytes: u64,
    /// Below the place's directory.
    pub files: Vec<String>,
    /// `log`, `content`.
    #[serde(rename = "where")]
    pub place: String,
    /// `age`, `size`.
    pub reason: String,
    /// Lines before this one go; None of content.
    pub retired_before: Option<u64>,
}

/// The digest of a file of weights, once it is known.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Model {
    pub file: inference::WeightsFile,
    /// The digest that the file at the same path had before, when it is another one now.
    pub replaces: Option<String>,
    pub server_pid: u64,
}

/// RFC 3339 in UTC with nanoseconds.
pub fn rfc3339(unix_ns: u64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(unix_ns);
    humantime::format_rfc3339_nanos(time).to_string()
}

#[cfg(test)]
mod tests;
