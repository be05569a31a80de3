//! The agent tested on whatever kernel this runs on, by named cases: `cargo xtask vm` runs it in its guests.
//!
//! In: the agent's binary (`AUDIT_AGENT_BIN`), root; names of paths or cases for only those. Out:
//! `CASE path name ok|declared: what|failed: why` for each case, `PATH path absent` for a path that the
//! kernel does not have, `SAME path path ok|failed: cases` for each pair of paths, `PROGRAM name count` for each loaded program, `SKIPPED path count`
//! where the kernel left out runs of the programs, `AGAIN path name: why` for each case that is tried once more; status 1
//! when one failed. Never: anything but the agent and this program itself, unless a case says so.

mod account;
mod cases;
mod channel;
mod client;
mod doctor;
mod encrypted;
mod exchange;
mod holder;
mod place;
mod pressure;
mod rights;
mod server;
mod suite;

use anyhow::Result;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let passed: Result<bool> = match words.as_slice() {
        ["serve", calls, holder, place] => server::run(calls, holder, place).map(|()| true),
        names => Ok(all(names)),
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

/// Runs everything, or the paths and cases that are named; whether all of it passed.
fn all(names: &[&str]) -> bool {
    let is_path = |name: &&str| cases::PATHS.iter().any(|path| path.name == *name);
    let (paths, only): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| is_path(name));
    let mut passed = true;
    let mut done: Vec<(&str, suite::Records)> = Vec::new();
    for path in cases::PATHS {
        if !paths.is_empty() && !paths.contains(&path.name) {
            continue;
        }
        if let Some((good, records)) = suite::run(path, &only) {
            passed &= good;
            for (other, before) in &done {
                passed &= suite::compare([(other, before), (path.name, &records)]);
            }
            done.push((path.name, records));
        }
    }
    (!names.is_empty() || rights::run()) && passed
}
