//! The agent tested on whatever kernel this runs on, by named cases: `cargo xtask vm` runs it in its guests.
//!
//! In: the agent's binary (`AUDIT_AGENT_BIN`), root. Out: `CASE name ok` or `CASE name FAIL reason` for each case,
//! `PROGRAM name count` for each loaded program; status 1 when one failed. Never: anything but the agent and this
//! program itself, unless a case says so.

mod cases;
mod channel;
mod client;
mod exchange;
mod server;
mod suite;

use anyhow::{Context, Result, bail, ensure};
use audit_tests::command::TestCommand;
use serde_json::Value;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed = match words.as_slice() {
        ["serve", calls, place] => serve(calls, place),
        [] => Ok(all()),
        _ => Err(anyhow::anyhow!("usage: guest [serve CALLS PLACE]")),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(calls: &str, place: &str) -> Result<bool> {
    let calls = calls
        .parse()
        .map_err(|()| anyhow::anyhow!("unknown calls {calls}"))?;
    server::run(calls, place).map(|()| true)
}

/// Runs everything; whether all of it passed.
fn all() -> bool {
    let mut passed = true;
    for path in ["tracepoint", "fentry"] {
        passed &= report(&format!("doctor/{path}"), &doctor(Path::new("/tmp"), path));
    }
    for suite in cases::SUITES {
        passed &= suite::run(suite);
    }
    passed
}

/// Prints how a case ended.
fn report(name: &str, result: &Result<()>) -> bool {
    match result {
        Ok(()) => println!("CASE {name} ok"),
        Err(error) => println!("CASE {name} FAIL {}", format!("{error:#}").replace('\n', "\n  ")),
    }
    result.is_ok()
}

/// Everything loads and attaches, and nothing keeps the agent from running.
fn doctor(dir: &Path, path: &str) -> Result<()> {
    let output = TestCommand::new(dir)?
        .args(["doctor", "--json", "--path", path, "--dir", "/tmp/agent"])
        .output()?;
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).context("what doctor prints")?;
    for check in &checks {
        print_check(check)?;
    }
    ensure!(output.status.success(), "doctor ended with {}", output.status);
    if !checks.iter().any(|check| check["name"] == "program") {
        bail!("doctor names no loaded program");
    }
    Ok(())
}

fn print_check(check: &Value) -> Result<()> {
    let text = |member: &str| {
        check[member]
            .as_str()
            .with_context(|| format!("{member} of {check}"))
    };
    println!(
        "doctor: {} {}: {}",
        text("status")?,
        text("name")?,
        text("detail")?
    );
    if let Some(count) = check["verified_instructions"].as_u64() {
        let name = text("detail")?.split(':').next().unwrap_or_default();
        println!("PROGRAM {name} {count}");
    }
    Ok(())
}
