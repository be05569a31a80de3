//! The `openai` Python package.

use super::calls::{Seen, run};
use super::script;
use crate::slm::installation;
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn command(server_url: &str, api_key: &str) -> Result<Command> {
    let mut command = Command::new(&installation()?.python);
    command
        .arg(script("openai_client.py"))
        .args([&format!("{server_url}/v1"), api_key]);
    Ok(command)
}

/// Makes the calls, given as (lane, request); lanes run at the same time, each on its own connection.
pub fn openai(server_url: &str, api_key: &str, calls: &[(u64, Value)]) -> Result<Vec<Seen>> {
    run(&mut command(server_url, api_key)?, calls)
}

/// The same over TLS, with the authority that the server's certificate must have.
pub fn openai_tls(server_url: &str, ca: &Path, api_key: &str, calls: &[(u64, Value)]) -> Result<Vec<Seen>> {
    run(command(server_url, api_key)?.env("SSL_CERT_FILE", ca), calls)
}

/// An agent's loop: what it executed, in order, one JSON value (`pid`, `command`) for each.
pub fn agent_loop(server_url: &str) -> Result<Vec<Value>> {
    let output = Command::new("python3")
        .arg(script("agent.py"))
        .arg(server_url)
        .output()?;
    if !output.status.success() {
        bail!("the agent failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}
