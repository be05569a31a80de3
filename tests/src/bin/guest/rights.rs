//! Whether the agent does its work without root, and keeps no more than it needs, on this kernel.
//!
//! In: nothing. Out: a `CHECK` line for an agent that root starts and for one that has four capabilities and another uid.

use super::client::{Manner, post_all};
use super::exchange::{Exchange, check};
use super::holder::Holder;
use super::place::{self, Family};
use super::server;
use anyhow::{Context, Result, ensure};
use audit_tests::agent::Agent;
use audit_tests::command::reachable_copy;
use audit_tests::record::{PLAIN_HASHES, of_type};
use audit_tests::rights::{self, Expected};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
const PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const SERVICE: u32 = 47_110;

/// Whether both passed.
pub fn run() -> bool {
    let root = Expected {
        uid: rights::UNNAMED,
        effective: &rights::KEPT,
        dormant: &[rights::SYS_ADMIN],
        bounding: &[],
    };
    let service = Expected {
        uid: SERVICE,
        effective: &rights::FOUR,
        dormant: &[],
        bounding: &rights::FOUR,
    };
    let passed = report("root", &captures(&root, |_| {}));
    let start = |command: &mut Command| rights::start_with(command, SERVICE, &rights::FOUR);
    let strict = refused_where_strict(&service, start);
    let passed = report("perf_event_paranoid", &strict) && passed;
    report("four_capabilities", &captures(&service, start)) && passed
}

/// Debian's kernels start with a level at which perf events take CAP_SYS_ADMIN; the agent has to say so. Leaves the level of
/// Linux itself.
fn refused_where_strict(service: &Expected, start: impl Fn(&mut Command)) -> Result<()> {
    let level: i32 = std::fs::read_to_string(PARANOID)?.trim().parse()?;
    if level > 2 {
        let refused = captures(service, start).err().context("it was not refused")?;
        let said = format!("{refused:#}");
        ensure!(
            said.contains("CAP_SYS_ADMIN") && said.contains("perf_event_paranoid"),
            "{said}"
        );
    }
    Ok(std::fs::write(PARANOID, "2")?)
}

/// One exchange is recorded whole by an agent whose processes have what is `expected`.
fn captures(expected: &Expected, start: impl Fn(&mut Command)) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(reachable_copy(dir.path())?);
    let config = dir.path().join("config.toml");
    std::fs::write(
        &config,
        format!("{PLAIN_HASHES}[capture]\npath = \"tracepoint\"\n"),
    )?;
    command.args(["run", "--output", "json", "--dir"]).arg(dir.path());
    command.arg("--config").arg(config);
    start(&mut command);
    if expected.uid == SERVICE {
        rights::give(dir.path(), SERVICE)?;
    }
    let place = place::free(Family::V4, dir.path(), "rights")?;
    let server = server::start("socket", Holder::Thread, &place)?;
    let mut agent = Agent::start_command(&mut command, dir.path())?;
    let body = Exchange::plain().body("rights").to_string();
    let moved = post_all(&place, server.pid(), Manner::KeepAlive, &[body])?;
    rights::check(agent.pid(), expected)?;
    let worker = Expected {
        effective: &[],
        dormant: &[],
        ..expected.clone()
    };
    rights::check(rights::worker(&agent)?, &worker)?;
    agent.wait_for("the record of the exchange", LIMIT, |records| {
        !of_type(records, "inference").is_empty()
    })?;
    let records = agent.stop()?;
    let calls = of_type(&records, "inference");
    let bodies = moved.first().and_then(|moved| moved.bodies.first());
    check(
        calls.first().context("a record")?,
        "tracepoint",
        bodies.context("an exchange")?,
    )
}

/// Prints how a case ended; whether it passed.
fn report(name: &str, result: &Result<()>) -> bool {
    match result {
        Ok(()) => println!("CHECK rights {name} ok"),
        Err(error) => println!(
            "CHECK rights {name} failed: {}",
            format!("{error:#}").replace('\n', " | ")
        ),
    }
    result.is_ok()
}
