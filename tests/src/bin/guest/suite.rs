//! Cases that share one run of the agent, and the check of everything that it signed.
//!
//! In: a suite. Out: a `CASE` line for each case and one for the log as a whole.

use super::cases::{Case, Listens, Suite};
use super::exchange::check;
use super::{client, doctor, report, server};
use anyhow::{Result, bail, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::command::TestCommand;
use audit_tests::process::{Guard, free_port};
use audit_tests::record::{self, PLAIN_HASHES};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// Emulated processors are slow; what takes this long does not come.
const LIMIT: Duration = Duration::from_secs(120);

/// A case whose server listens.
struct Running<'a> {
    case: &'a Case,
    place: String,
    /// Bodies of the requests.
    bodies: Vec<Value>,
    _server: Guard,
}

/// Runs a suite and reports each case; whether all passed.
pub fn run(suite: &Suite) -> bool {
    let loads = doctor::check(suite.path);
    if loads.is_err() && !suite.everywhere {
        println!("skipped: {}: this kernel does not have it", suite.path);
        return true;
    }
    if !report(&format!("{}/doctor", suite.path), &loads) {
        return false;
    }
    let mut failed = 0;
    let whole = traffic(suite, &mut failed);
    report(&format!("{}/log", suite.path), &whole) && failed == 0
}

/// Starts servers and the agent, makes every exchange, and checks what was signed. Failed cases are counted, what is
/// wrong with the whole is the result.
fn traffic(suite: &Suite, failed: &mut usize) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let start = |listens| {
        let cases = suite.cases.iter().filter(move |case| case.listens == listens);
        cases
            .map(|case| listen(case, dir.path()))
            .collect::<Result<Vec<_>>>()
    };
    let mut running = start(Listens::BeforeTheAgent)?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: &format!("{PLAIN_HASHES}[capture]\npath = \"{}\"\n", suite.path),
    })?;
    running.extend(start(Listens::LaterThanTheAgent)?);
    let made: Vec<Result<()>> = running.iter().map(exchange).collect();
    let records = records(
        &mut agent,
        running.iter().map(|running| running.bodies.len()).sum(),
    );
    for (running, made) in running.iter().zip(made) {
        let name = format!("{}/{}", suite.path, running.case.name);
        let result =
            made.and_then(|()| recorded(running, suite.path, records.as_deref().unwrap_or_default()));
        *failed += usize::from(!report(&name, &result));
    }
    complete(&records?, &running)?;
    verified(&agent, dir.path())
}

fn listen<'a>(case: &'a Case, dir: &Path) -> Result<Running<'a>> {
    let place = if case.unix {
        format!("{}/{}.sock", dir.display(), case.name)
    } else {
        free_port()?.to_string()
    };
    let numbered = case.exchanges.iter().enumerate();
    Ok(Running {
        case,
        bodies: numbered
            .map(|(number, exchange)| exchange.body(&format!("{} {number}", case.name)))
            .collect(),
        _server: server::start(case.calls, &place)?,
        place,
    })
}

fn exchange(running: &Running) -> Result<()> {
    let mut client = client::connect(&running.place)?;
    running
        .bodies
        .iter()
        .try_for_each(|body| client.post(body).map(drop))
}

/// Everything that the agent signed, once it has a record of each exchange and has ended.
fn records(agent: &mut Agent, expected: usize) -> Result<Vec<Value>> {
    let waited = agent.wait_for("a record of each exchange", LIMIT, |records| {
        record::of_type(records, "inference").len() >= expected
    });
    let records = agent.stop()?;
    if let Err(error) = waited
        && record::of_type(&records, "inference").len() < expected
    {
        println!("{error:#}");
    }
    Ok(records)
}

fn recorded(running: &Running, path: &str, records: &[Value]) -> Result<()> {
    running
        .bodies
        .iter()
        .try_for_each(|body| check(records, path, body))
}

/// One record for each exchange, none besides, and nothing missing.
fn complete(records: &[Value], running: &[Running]) -> Result<()> {
    let found = record::of_type(records, "inference").len();
    let expected: usize = running.iter().map(|running| running.bodies.len()).sum();
    ensure!(
        found == expected,
        "{found} inference records of {expected} exchanges"
    );
    let missing = record::declared_missing(records);
    if missing != 0 {
        bail!(
            "{missing} events or bytes are declared missing: {:?}",
            record::of_type(records, "gap")
        );
    }
    Ok(())
}

fn verified(agent: &Agent, dir: &Path) -> Result<()> {
    let (log, key) = (agent.log(), agent.public_key());
    let mut verify = TestCommand::new(dir)?.args(["verify".as_ref(), log.as_os_str()]);
    verify = verify.args(["--key".as_ref(), key.as_os_str()]);
    verify.stdout().map(drop)
}
