//! What is said over TLS has the same records as what is said in the clear: every TLS server, every client.

mod kinds;
mod traffic;

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::HeldConnection;
use audit_tests::command::TestCommand;
use audit_tests::exchange::{CHAT, Exchange, Party};
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, of_type};
use audit_tests::tls::node::Node;
use audit_tests::tls::rustls::Rustls;
use audit_tests::tls::{Certificate, TlsServer};
use kinds::Kind;
use serde_json::Value;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records come out within the agent's flush interval; more only where the machine is busy.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);

/// One agent and one server at a time: the machine is small.
static STAGE: Mutex<()> = Mutex::new(());

fn can_run(kind: &Kind) -> bool {
    !live::skip()
        && live::prerequisite((kind.prepare)()).is_some()
        && live::prerequisite(Node::prepare()).is_some()
}

fn start_agent(dir: &Path) -> Result<Agent> {
    Agent::start(Options {
        dir,
        output: "json",
        config: PLAIN_HASHES,
    })
}

/// Waits for a record of each exchange, and compares.
fn compare(agent: &mut Agent, kind: &Kind, server: &Party, exchanges: &[Exchange]) -> Result<()> {
    let all = agent.wait_for("a record of every exchange", RECORDS_LIMIT, |records| {
        server.records(records).len() >= exchanges.len()
    });
    // Which one is missing says more than that the time was up.
    let records = all.or_else(|_| agent.records())?;
    for exchange in exchanges {
        let record = exchange.check(&records, server)?;
        kind.check(&record)
            .with_context(|| format!("{}: {record:#}", exchange.label))?;
    }
    Ok(())
}

/// The log holds these exchanges and no others of the server, and says of none that something is missing.
fn check_log(log: &[Value], server: &Party, exchanges: usize) -> Result<()> {
    let found = server.records(log);
    ensure!(
        found.len() == exchanges,
        "{} records of {exchanges} exchanges",
        found.len()
    );
    for record in &found {
        ensure!(record["capture"]["bytes_missed"] == 0, "{record:#}");
    }
    Ok(())
}

/// Bytes of the connection that this exchange was on, which is still open, are declared to have no place.
fn unplaced_is_declared(agent: &mut Agent, server: &Party, exchange: &Exchange) -> Result<()> {
    let port = exchange.check(&agent.records()?, server)?["client"]["port"].to_string();
    let declared = |gap: &&Value| {
        let client = gap["connection"]["client"].as_str().unwrap_or_default();
        gap["where"] == "reassembly" && client.rsplit(':').next() == Some(port.as_str())
    };
    let found = |records: &[Value]| of_type(records, "gap").into_iter().filter(declared).count();
    let what = format!("a gap of port {port}");
    agent.wait_for(&what, RECORDS_LIMIT, |records| found(records) > 0)?;
    Ok(())
}

/// A server that is older than the agent, with a connection that is; then one that is younger.
fn scene(kind: &Kind) -> Result<()> {
    if !can_run(kind) {
        return Ok(());
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    play(kind).with_context(|| kind.name)?;
    let older = if kind.waits_inside {
        "seen; the request that the server waits for when the agent starts: declared"
    } else {
        "seen"
    };
    report([kind.name, kind.library, older, "seen"])
}

/// Adds what was found to the file that `cargo xtask tls-coverage` makes its table of.
fn report(cells: [&str; 4]) -> Result<()> {
    let Some(path) = std::env::var_os("AUDIT_AGENT_TLS_REPORT") else {
        return Ok(());
    };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(writeln!(file, "{}", cells.join("\t"))?)
}

fn play(kind: &Kind) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let certificate = Certificate::create()?;
    let old = (kind.start)(&certificate)?;
    let mut held = HeldConnection::open_tls(old.port(), CHAT, &old.ca())?;
    traffic::held(&mut held)?;
    let mut agent = start_agent(dir.path())?;
    let exchanges = traffic::all(old.as_ref(), kind, &mut held)?;
    compare(&mut agent, kind, &old.party()?, &exchanges).with_context(|| old.log())?;
    let (old, last) = (old.party()?, exchanges.last());
    if kind.waits_inside {
        unplaced_is_declared(&mut agent, &old, last.context("there are exchanges")?)?;
    }

    let young = (kind.start)(&certificate)?;
    let curls = traffic::curls(young.as_ref())?;
    let young = young.party()?;
    compare(&mut agent, kind, &young, &curls)?;

    let log = agent.stop()?;
    check_log(&log, &old, exchanges.len())?;
    check_log(&log, &young, curls.len())?;
    let ring_lost: Vec<_> = of_type(&log, "gap")
        .into_iter()
        .filter(|gap| gap["where"] == "ring_buffer")
        .collect();
    ensure!(ring_lost.is_empty(), "something was lost: {ring_lost:#?}");
    let arguments = [agent.log(), "--key".into(), agent.public_key()];
    let verified = TestCommand::new(dir.path())?
        .args(["verify"])
        .args(arguments)
        .output()?;
    // Intact, or intact with declared gaps.
    ensure!(matches!(verified.status.code(), Some(0 | 3)), "{verified:?}");
    Ok(())
}

#[test]
fn llama_server_with_shared_openssl_has_true_records() -> Result<()> {
    scene(&kinds::LLAMA_SHARED)
}

#[test]
fn llama_server_with_openssl_inside_has_true_records() -> Result<()> {
    scene(&kinds::LLAMA_STATIC)
}

#[test]
fn uvicorn_on_memory_buffers_has_true_records() -> Result<()> {
    scene(&kinds::UVICORN)
}

#[test]
fn nginx_with_two_workers_has_true_records() -> Result<()> {
    scene(&kinds::NGINX)
}

#[test]
fn node_has_true_records() -> Result<()> {
    scene(&kinds::NODE)
}

#[test]
fn gnutls_has_true_records() -> Result<()> {
    scene(&kinds::GNUTLS)
}

#[test]
fn go_has_true_records() -> Result<()> {
    scene(&kinds::GO)
}

/// Nothing of rustls can be probed: the log says how many connections nobody could read, and `doctor` says it before.
#[test]
fn what_rustls_says_is_declared_as_unread() -> Result<()> {
    if live::skip() || live::prerequisite(Rustls::prepare()).is_none() {
        return Ok(());
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir()?;
    let certificate = Certificate::create()?;
    let mut agent = start_agent(dir.path())?;
    let server = Rustls::start(&certificate)?;
    let doctor = TestCommand::new(dir.path())?
        .args(["doctor", "--json"])
        .stdout()?;
    let checks: Vec<Value> = serde_json::from_str(&doctor)?;
    let pid = format!("({})", server.pid());
    let said = |check: &&Value| {
        let detail = check["detail"].as_str().unwrap_or_default();
        check["name"] == "tls" && detail.contains(&pid) && detail.starts_with("cannot see into")
    };
    ensure!(checks.iter().filter(said).count() == 1, "{checks:#?}");
    let chats = traffic::curls(&server)?.len() as u64;
    let unread = |records: &[Value]| -> u64 {
        let gaps = of_type(records, "gap").into_iter();
        let of_server = gaps.filter(|gap| gap["connection"]["server_pid"] == server.pid());
        of_server
            .filter_map(|gap| gap["lost"]["connections_undecrypted"].as_u64())
            .sum()
    };
    agent.wait_for("the unread connections", RECORDS_LIMIT, |records| {
        unread(records) >= chats
    })?;
    let log = agent.stop()?;
    ensure!(of_type(&log, "inference").is_empty(), "nothing could be read");
    report(["axum, rustls", "-", "declared", "declared"])
}
