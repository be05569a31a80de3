//! All cases on one capture path, which share one run of the agent, and the check of everything that it signed.
//!
//! In: a path. Out: a `CASE` line for each case and one for the log as a whole; the records of what was seen in whole.

use super::account::{self, Outcome};
use super::cases::{self, Case, Listens, Path};
use super::client::Moved;
use super::holder::Holder;
use super::{client, doctor, place, pressure, server};
use anyhow::{Result, bail, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::command::TestCommand;
use audit_tests::process::Guard;
use audit_tests::record::{self, PLAIN_HASHES};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Emulated processors are slow; what takes this long does not come.
const LIMIT: Duration = Duration::from_secs(40);

/// Cases that fail now and then for a reason that is known: they are reported as `unstable`, and fail nothing.
const UNSTABLE: [(&str, &str); 3] = [
    (
        "unix_sendfile",
        "what sendfile moved on a unix socket is sometimes in no record's count of missed bytes",
    ),
    (
        "agent_starved",
        "bytes lost inside of an exchange's head are counted by reason and not by exchange",
    ),
    (
        "agent_stopped",
        "a loss that shows after the answer leaves a record that says it is complete",
    ),
];

/// What did not pass.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    failed: usize,
    unstable: usize,
}

/// Records of each case that was seen in whole, without what differs between two runs.
pub type Records = BTreeMap<&'static str, Vec<Value>>;

/// A case whose server listens.
struct Running {
    case: &'static Case,
    place: String,
    servers: Vec<Guard>,
}

impl Running {
    fn start(case: &'static Case, dir: &std::path::Path) -> Result<Self> {
        let place = place::free(case.family, dir, case.name)?;
        let count = if case.holder == Holder::TwoProcesses { 2 } else { 1 };
        let servers = (0..count).map(|_| server::start(case.calls, case.holder, &place));
        let servers = servers.collect::<Result<_>>()?;
        Ok(Self { case, place, servers })
    }

    /// Makes every exchange.
    fn exchange(&self) -> Result<Vec<Moved>> {
        let numbered = self.case.exchanges.iter().enumerate();
        let body = |(number, exchange): (usize, &super::exchange::Exchange)| {
            exchange.body(&format!("{} {number}", self.case.name)).to_string()
        };
        let bodies: Vec<String> = numbered.map(body).collect();
        let pid = self.servers.first().map_or(0, Guard::pid);
        client::post_all(&self.place, pid, self.case.manner, &bodies)
    }
}

/// Runs every case on a path and reports each. None when the kernel does not have it, else whether all passed.
pub fn run(path: &Path, only: &[&str]) -> Option<(bool, Records)> {
    let loads = doctor::check(path.name);
    if loads.is_err() && !path.everywhere {
        println!("PATH {} absent", path.name);
        return None;
    }
    let mut seen = Records::new();
    let mut tally = Tally::default();
    let whole = loads.and_then(|()| traffic(path.name, only, &mut seen, &mut tally));
    for (name, case) in pressure::CASES {
        if only.is_empty() || only.contains(name) {
            report(path.name, name, &case(path.name), &mut tally);
        }
    }
    report(path.name, "log", &whole.map(|()| Outcome::Seen), &mut tally);
    Some((tally.failed == 0, seen))
}

/// Prints how a case ended.
fn report(path: &str, name: &str, result: &Result<Outcome>, tally: &mut Tally) {
    match result {
        Ok(Outcome::Seen) => println!("CASE {path} {name} ok"),
        Ok(Outcome::Declared(what)) => println!("CASE {path} {name} declared: {what}"),
        Err(error) => {
            let error = format!("{error:#}").replace('\n', " | ");
            match UNSTABLE.iter().find(|(unstable, _)| *unstable == name) {
                Some((_, why)) => {
                    tally.unstable += 1;
                    println!("CASE {path} {name} unstable: {why}: {error}");
                }
                None => {
                    tally.failed += 1;
                    println!("CASE {path} {name} failed: {error}");
                }
            }
        }
    }
}

/// Starts servers and the agent, makes every exchange, and checks what was signed. Failed cases are counted, what is
/// wrong with the whole is the result.
fn traffic(path: &str, only: &[&str], seen: &mut Records, tally: &mut Tally) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let wanted = |case: &&Case| only.is_empty() || only.contains(&case.name);
    let start = |listens| {
        let cases = cases::all()
            .filter(wanted)
            .filter(move |case| case.listens == listens);
        cases
            .map(|case| Running::start(case, dir.path()))
            .collect::<Result<Vec<_>>>()
    };
    let mut running = start(Listens::BeforeTheAgent)?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: &format!("{PLAIN_HASHES}[capture]\npath = \"{path}\"\n"),
    })?;
    running.extend(start(Listens::LaterThanTheAgent)?);
    let made: Vec<Result<Vec<Moved>>> = running.iter().map(Running::exchange).collect();
    let records = records(&mut agent, made.iter().flatten().flatten())?;
    let mut expected = 0;
    for (running, made) in running.iter().zip(made) {
        let name = running.case.name;
        let result = made.and_then(|made| {
            let outcome = of_all(&made, path, &records)?;
            expected += made.iter().map(|moved| moved.bodies.len()).sum::<usize>();
            if outcome == Outcome::Seen {
                let normalised = made.iter().flat_map(|moved| account::normalised(moved, &records));
                seen.insert(name, normalised.collect());
            }
            Ok(outcome)
        });
        report(path, name, &result, tally);
    }
    complete(&records, expected, tally.failed + tally.unstable)?;
    verified(&agent, dir.path())
}

/// The worst of a case's connections.
fn of_all(made: &[Moved], path: &str, records: &[Value]) -> Result<Outcome> {
    let mut worst = Outcome::Seen;
    for moved in made {
        if let declared @ Outcome::Declared(_) = account::of(moved, path, records)? {
            worst = declared;
        }
    }
    Ok(worst)
}

/// Everything that the agent signed, once it has an account of each connection and has ended.
fn records<'a>(agent: &mut Agent, made: impl Iterator<Item = &'a Moved>) -> Result<Vec<Value>> {
    let made: Vec<&Moved> = made.collect();
    let waited = agent.wait_for("an account of each connection", LIMIT, |records| {
        made.iter().all(|moved| account::is_settled(moved, records))
    });
    if waited.is_err() {
        println!("some connections are not accounted for");
    }
    agent.stop()
}

/// No more records than exchanges, and no loss that is the agent's own.
fn complete(records: &[Value], expected: usize, failed: usize) -> Result<()> {
    let found = record::of_type(records, "inference").len();
    ensure!(
        found <= expected || failed > 0,
        "{found} inference records of {expected} exchanges"
    );
    for gap in record::of_type(records, "gap") {
        for reason in [
            "ring_full",
            "read_fault",
            "scratch_busy",
            "conn_map_full",
            "return_missed",
        ] {
            if !gap["lost"][reason].is_null() {
                bail!("the agent lost what it should not: {gap}");
            }
        }
    }
    Ok(())
}

fn verified(agent: &Agent, dir: &std::path::Path) -> Result<()> {
    let (log, key) = (agent.log(), agent.public_key());
    let mut verify = TestCommand::new(dir)?.args(["verify".as_ref(), log.as_os_str()]);
    verify = verify.args(["--key".as_ref(), key.as_os_str()]);
    let output = verify.output()?;
    // Intact, or intact with declared gaps.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    Ok(())
}

/// The same traffic has the same records on both paths.
pub fn compare([first, second]: [(&str, &Records); 2]) -> bool {
    let ((one, first), (other, second)) = (first, second);
    let both = first
        .iter()
        .filter_map(|(name, records)| Some((name, records, second.get(name)?)));
    let differing: Vec<&str> = both.filter(|(_, a, b)| a != b).map(|(name, ..)| *name).collect();
    let verdict = if differing.is_empty() {
        "ok".to_owned()
    } else {
        format!("failed: {}", differing.join(", "))
    };
    println!("SAME {one} {other} {verdict}");
    for name in &differing {
        println!("SAME {name}: {:?} | {:?}", first.get(name), second.get(name));
    }
    differing.is_empty()
}
