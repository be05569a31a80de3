//! Chat calls by a program under `tests/clients`, and what it saw.
//!
//! In: calls as (lane, request). Out: one [`Seen`] for each call. Never: a call without an answer.

use super::Caller;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// What the client library handed to its caller for one call.
#[derive(Debug)]
pub struct Seen {
    pub lane: u64,
    pub request: Value,
    pub status: u16,
    /// None where an exception came instead of an answer; for a stream the part that came first.
    pub text: Option<String>,
    pub finish_reason: Option<String>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub tool_calls: Vec<Value>,
    pub error_type: Option<String>,
    pub error_message: Option<String>,
    pub caller: Caller,
}

impl Seen {
    fn from_json(line: &str, caller: &Caller) -> Result<Self> {
        let seen: Value = serde_json::from_str(line)?;
        let text = |name: &str| seen[name].as_str().map(String::from);
        let status = seen["status"]
            .as_u64()
            .with_context(|| format!("no status in {line}"))?;
        Ok(Self {
            lane: seen["lane"].as_u64().context("no lane")?,
            request: seen["request"].clone(),
            status: u16::try_from(status)?,
            text: text("text"),
            finish_reason: text("finish_reason"),
            input_tokens: seen["usage"]["prompt_tokens"].as_u64(),
            output_tokens: seen["usage"]["completion_tokens"].as_u64(),
            tool_calls: seen["tool_calls"].as_array().cloned().unwrap_or_default(),
            error_type: text("error_type"),
            error_message: text("error_message"),
            caller: caller.clone(),
        })
    }
}

/// Runs the client with the calls; lanes run at the same time, each on its own connection.
pub(super) fn run(command: &mut Command, calls: &[(u64, Value)]) -> Result<Vec<Seen>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    // The client reads all of stdin before it writes, so this cannot block on its output.
    let mut stdin = child.stdin.take().context("the client has a stdin")?;
    for (lane, request) in calls {
        writeln!(stdin, "{}", json!({ "lane": lane, "request": request }))?;
    }
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("the client ended with {}", output.status);
    }
    let stdout = String::from_utf8(output.stdout)?;
    let (first, rest) = stdout.split_once('\n').context("the client said nothing")?;
    let caller = Caller::from_json(&serde_json::from_str(first)?)?;
    let seen: Vec<Seen> = rest
        .lines()
        .map(|line| Seen::from_json(line, &caller))
        .collect::<Result<_>>()?;
    if seen.len() != calls.len() {
        bail!("{} calls were made, {} answered", calls.len(), seen.len());
    }
    Ok(seen)
}
