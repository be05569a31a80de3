//! The agent tested on whatever kernel this runs on, by named cases: `cargo xtask vm` runs it in its guests.
//!
//! In: the agent's binary (`AUDIT_AGENT_BIN`), root. Out: `CASE name ok` or `CASE name FAIL reason` for each case,
//! `PROGRAM name count` for each loaded program; status 1 when one failed. Never: anything but the agent and this
//! program itself, unless a case says so.

mod cases;
mod channel;
mod client;
mod doctor;
mod exchange;
mod server;
mod suite;

use anyhow::Result;
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
    let failed = cases::SUITES.iter().filter(|suite| !suite::run(suite));
    failed.count() == 0
}

/// Prints how a case ended.
fn report(name: &str, result: &Result<()>) -> bool {
    match result {
        Ok(()) => println!("CASE {name} ok"),
        Err(error) => println!("CASE {name} FAIL {}", format!("{error:#}").replace('\n', "\n  ")),
    }
    result.is_ok()
}
