//! The record of a command that a model's answer led to.

use super::inference::{ProcessInfo, Workload};
use serde::Serialize;

/// See `docs/record-format.md` for each member.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Action {
    /// `exchange_id` of the answer that asked for a tool.
    pub caused_by: Option<String>,
    pub cwd: Option<String>,
    /// `tool_arguments`, `process_time`, `ambiguous`.
    pub link: String,
    pub link_candidates: Vec<String>,
    pub parent_pid: u64,
    pub process: ProcessInfo,
    pub start_time: String,
    /// Names of the tools that were asked for.
    pub tools: Vec<String>,
    pub workload: Workload,
}
