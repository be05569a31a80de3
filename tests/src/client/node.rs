//! The `https` module of Node.js.

use super::calls::{Seen, run};
use super::script;
use crate::tls::tools::program;
use anyhow::Result;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Makes the calls as [`super::openai_tls`] does.
pub fn node_tls(server_url: &str, ca: &Path, api_key: &str, calls: &[(u64, Value)]) -> Result<Vec<Seen>> {
    let mut command = Command::new(program("node", "nodejs")?);
    command
        .arg(script("node_client.mjs"))
        .args([&format!("{server_url}/v1"), api_key])
        .env("NODE_EXTRA_CA_CERTS", ca);
    run(&mut command, calls)
}
