//! All cases on one capture path, which share one run of the agent, and the check of everything that it signed.
//!
//! In: a path. Out: a `CASE` line for each case and one for the log as a whole; the records of what was seen in whole.

use super::account::{self, Outcome};
use super::cases::{self, Case, Listens, Path};
use super::client::Moved;
use super::holder::Holder;
use super::{client, doctor, encrypted, place, pressure, server};
use anyhow::{Result, bail, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::command::TestCommand;
use audit_tests::process::Guard;
use audit_tests::record::{self, PLAIN_HASHES};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Runs of a case at most, where the kernel left out runs of the programs in those before: the log says how many, and what was in
/// them nobody can know.
const TRIES: u32 = 3;

/// Emulated processors are slow; what takes this long does not come.
const LIMIT: Duration = Duration::from_secs(40);

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
    let mut failed = 0;
    let whole = loads.and_then(|()| traffic(path.name, only, &mut seen, &mut failed, TRIES));
    let encrypted = if encrypted::available() {
        encrypted::CASES
    } else {
        println!("no openssl here: no case of TLS");
        &[]
    };
    for (name, case) in pressure::CASES.iter().chain(encrypted) {
        if only.is_empty() || only.contains(name) {
            report(path.name, name, &undisturbed(path.name, name, *case), &mut failed);
        }
    }
    report(path.name, "log", &whole.map(|()| Outcome::Seen), &mut failed);
    Some((failed == 0, seen))
}

/// A case with an agent of its own: twice where it failed, and as often as any where it did while the kernel left out runs of the
/// programs, which the agent declares and the case is not about. An emulated machine that shares its processors now and then
/// fails for reasons that nobody could find; each first failure is printed, and who boots the guest shows it.
fn undisturbed(path: &str, name: &str, case: fn(&str) -> Result<Outcome>) -> Result<Outcome> {
    let skipped = |text: &str| {
        let counts = text.split("\"lost_program_skipped\":").skip(1);
        counts.into_iter().any(|count| !count.starts_with('0'))
    };
    let mut tries = 1;
    loop {
        let error = match case(path) {
            Err(error) => error,
            outcome => return outcome,
        };
        let text = format!("{error:#}").replace('\n', " | ");
        tries += 1;
        if tries > if skipped(&text) { TRIES } else { 2 } {
            return Err(error);
        }
        println!("AGAIN {path} {name}: {text}");
    }
}

/// Prints how a case ended.
fn report(path: &str, name: &str, result: &Result<Outcome>, failed: &mut usize) {
    match result {
        Ok(Outcome::Seen) => println!("CASE {path} {name} ok"),
        Ok(Outcome::Declared(what)) => println!("CASE {path} {name} declared: {what}"),
        Err(error) => {
            let error = format!("{error:#}").replace('\n', " | ");
            *failed += 1;
            println!("CASE {path} {name} failed: {error}");
        }
    }
}

/// Starts servers and the agent, makes every exchange, and checks what was signed. Failed cases are counted, what is
/// wrong with the whole is the result. Those that failed while runs were left out are tried again on their own.
fn traffic(path: &str, only: &[&str], seen: &mut Records, failed: &mut usize, tries: u32) -> Result<()> {
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
    let skipped = skipped(&records);
    if skipped > 0 {
        println!("SKIPPED {path} {skipped}");
    }
    let (mut expected, mut again) = (0, Vec::new());
    for (running, made) in running.iter().zip(made) {
        let name = running.case.name;
        let mut result = made.and_then(|made| {
            let outcome = of_all(&made, path, &records)?;
            expected += made.iter().map(|moved| moved.bodies.len()).sum::<usize>();
            if outcome == Outcome::Seen {
                let normalised = made.iter().flat_map(|moved| account::normalised(moved, &records));
                seen.insert(name, normalised.collect());
            }
            Ok(outcome)
        });
        if let Err(error) = &result
            && skipped > 0
            && !running.case.family.is_tcp()
        {
            // Nothing numbers the bytes of unix sockets: the count of runs is all that can be said.
            println!("{path} {name}: a run was left out: {error:#}");
            result = Ok(Outcome::Declared("program_skipped".into()));
        }
        match &result {
            Err(error) if skipped > 0 && tries > 1 => {
                let error = format!("{error:#}").replace('\n', " | ");
                println!("SKIPPED {path}: {name} once more: {error}");
                again.push(name);
            }
            _ => report(path, name, &result, failed),
        }
    }
    complete(&records, expected, *failed + again.len())?;
    verified(&agent, dir.path())?;
    if again.is_empty() {
        return Ok(());
    }
    drop(running);
    traffic(path, &again, seen, failed, tries - 1)
}

/// Runs of programs that the kernel left out, as the log says.
fn skipped(records: &[Value]) -> u64 {
    let gaps = record::of_type(records, "gap");
    let counts = gaps
        .iter()
        .filter_map(|gap| gap["lost"]["program_skipped"].as_u64());
    counts.sum()
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
