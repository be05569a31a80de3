//! What `audit-agent doctor` says of a capture path.

use anyhow::{Context, Result, bail, ensure};
use audit_tests::command::TestCommand;
use serde_json::Value;
use std::path::Path;

/// Everything loads and attaches, and nothing keeps the agent from running; prints what is there.
pub fn check(path: &str) -> Result<()> {
    let mut doctor = TestCommand::new(Path::new("/"))?;
    doctor = doctor.args(["doctor", "--json", "--path", path, "--dir", "/tmp/agent"]);
    let output = doctor.output()?;
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).context("what doctor prints")?;
    for check in &checks {
        print(check)?;
    }
    ensure!(output.status.success(), "doctor ended with {}", output.status);
    if !checks.iter().any(|check| check["name"] == "program") {
        bail!("doctor names no loaded program");
    }
    Ok(())
}

/// A check as a line, and for a program one that `cargo xtask vm` reads.
fn print(check: &Value) -> Result<()> {
    let text = |member: &str| {
        check[member]
            .as_str()
            .with_context(|| format!("{member} of {check}"))
    };
    let (name, detail) = (text("name")?, text("detail")?);
    match check["verified_instructions"].as_u64() {
        Some(count) => println!("PROGRAM {} {count}", detail.split(':').next().unwrap_or_default()),
        None => println!("doctor: {} {name}: {detail}", text("status")?),
    }
    Ok(())
}
