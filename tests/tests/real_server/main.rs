//! The main job, end to end: a real llama.cpp server, real clients, the agent beside them, and one true
//! record of every exchange.

mod traffic;

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options, segments};
use audit_tests::client::HeldConnection;
use audit_tests::command::{TestCommand, binary};
use audit_tests::exchange::Exchange;
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, declared_missing, of_type, sha256_of_file};
use audit_tests::slm::server::LlamaServer;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records come out within the agent's flush interval; more only where the machine is busy.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);
/// `audit-agent verify` of a log that was changed.
const TAMPERED: i32 = 1;

/// The scene takes a small machine whole, and the agent sees all of it: one test at a time.
static STAGE: Mutex<()> = Mutex::new(());

/// The three servers, and a connection that is older than whatever starts next.
struct Scene {
    main: LlamaServer,
    keyed: LlamaServer,
    cramped: LlamaServer,
    held: HeldConnection,
}

impl Scene {
    fn start() -> Result<Self> {
        let main = LlamaServer::start(traffic::MAIN_SERVER)?;
        let mut held = HeldConnection::open(main.port(), "/v1/chat/completions")?;
        traffic::held(&mut held)?;
        Ok(Self {
            held,
            keyed: LlamaServer::start(traffic::KEYED_SERVER)?,
            cramped: LlamaServer::start(traffic::CRAMPED_SERVER)?,
            main,
        })
    }

    /// All traffic, by server.
    fn play(&mut self) -> Result<Vec<(&LlamaServer, Vec<Exchange>)>> {
        let mut main = traffic::held(&mut self.held)?;
        for situation in [traffic::chats, traffic::tools, traffic::refused, traffic::native] {
            main.extend(situation(&self.main)?);
        }
        main.extend(traffic::aborted(&self.main)?);
        main.extend(traffic::crowd(&self.main)?);
        Ok(vec![
            (&self.main, main),
            (&self.keyed, traffic::keys(&self.keyed)?),
            (&self.cramped, traffic::failing_streams(&self.cramped)?),
        ])
    }
}

/// Inference records of one server.
fn of_server(records: &[Value], server: &LlamaServer) -> usize {
    let ours = |record: &&Value| record["server"]["process"]["pid"] == server.pid();
    of_type(records, "inference").into_iter().filter(ours).count()
}

fn digest_known(records: &[Value], server: &LlamaServer, sha256: &str) -> bool {
    let path = server.model();
    // `sha256:HEX` and bare HEX name the same digest.
    let hex = sha256.trim_start_matches("sha256:");
    let same = |file: &Value| {
        file["path"].as_str() == path.to_str()
            && file["sha256"]
                .as_str()
                .is_some_and(|found| found.trim_start_matches("sha256:") == hex)
    };
    records.iter().any(|record| {
        same(&record["file"])
            || record["model_files"]
                .as_array()
                .is_some_and(|files| files.iter().any(same))
    })
}

fn verify(dir: &Path, agent: &Agent) -> Result<TestCommand> {
    let arguments = [agent.log(), "--key".into(), agent.public_key()];
    Ok(TestCommand::new(dir)?.args(["verify"]).args(arguments))
}

/// Turns one bit of the line in the middle and expects the verifier to name its number.
fn a_flipped_bit_is_found(dir: &Path, agent: &Agent) -> Result<()> {
    let segment = segments(&agent.log())?
        .into_iter()
        .next()
        .context("the log has no segment")?;
    let mut bytes = std::fs::read(&segment)?;
    let starts: Vec<_> = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::len)
        .collect();
    let line = starts.len() / 2;
    let start: usize = starts[..line].iter().sum();
    let record: Value = serde_json::from_slice(&bytes[start..start + starts[line]])?;
    bytes[start + starts[line] / 2] ^= 1;
    std::fs::write(segment, bytes)?;
    let output = verify(dir, agent)?.output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let seq = record["seq"].to_string();
    ensure!(
        output.status.code() == Some(TAMPERED),
        "verify ended with {}: {said}",
        output.status
    );
    let named = said
        .split(|letter: char| !letter.is_ascii_digit())
        .any(|number| number == seq);
    ensure!(named, "verify does not name {seq}: {said}");
    Ok(())
}

#[test]
fn every_exchange_has_exactly_one_true_record() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir()?;
    let mut scene = Scene::start()?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: PLAIN_HASHES,
    })?;
    let played = scene.play()?;
    let sha256 = sha256_of_file(&played[0].0.model())?;
    let records = agent.wait_for("a record of every exchange", RECORDS_LIMIT, |records| {
        played.iter().all(|(server, exchanges)| {
            of_server(records, server) >= exchanges.len() && digest_known(records, server, &sha256)
        })
    })?;
    for (server, exchanges) in &played {
        for exchange in exchanges {
            exchange.check(&records, &server.party()?)?;
        }
    }
    let log = agent.stop()?;
    for (server, exchanges) in &played {
        let found = of_server(&log, server);
        ensure!(
            found == exchanges.len(),
            "{found} records of {} exchanges",
            exchanges.len()
        );
    }
    ensure!(
        declared_missing(&log) == 0,
        "something was lost: {:#?}",
        of_type(&log, "gap")
    );
    ensure!(
        log.iter()
            .map(|record| &record["record_type"])
            .take(2)
            .eq(["epoch", "agent_start"]),
        "no epoch and agent_start first"
    );
    ensure!(
        log.last()
            .is_some_and(|record| record["record_type"] == "agent_stop"),
        "no agent_stop last"
    );
    ensure!(agent.records()? == log, "stdout and log differ");
    // Intact, or intact with declared gaps.
    let output = verify(dir.path(), &agent)?.output()?;
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    a_flipped_bit_is_found(dir.path(), &agent)
}

/// Replays a capture with the keys in `state`, made when absent, into a log of its own.
fn replay(capture: &Path, state: &Path, log: &str) -> Result<String> {
    TestCommand::new(state.parent().unwrap_or(state))?
        .args(["replay", "--output", "json", "--log", log])
        .args([capture.as_os_str(), "--dir".as_ref(), state.as_os_str()])
        .stdout()
}

#[test]
fn a_recording_replays_to_the_same_bytes_with_the_same_keys() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir()?;
    let capture = dir.path().join("scene.acap");
    let mut scene = Scene::start()?;
    let mut record = Command::new(binary()?);
    let mut recorder = Agent::start_command(record.arg("record").arg("--out").arg(&capture), dir.path())?;
    let played = scene.play()?;
    recorder.terminate()?;
    let state = dir.path().join("state");
    let first = replay(&capture, &state, "first")?;
    let again = replay(&capture, &state, "again")?;
    ensure!(first == again, "two replays differ");
    let records: Vec<Value> = first
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    for (server, exchanges) in &played {
        let found = of_server(&records, server);
        ensure!(
            found == exchanges.len(),
            "{found} records of {} exchanges",
            exchanges.len()
        );
    }
    Ok(())
}

/// The harness without the agent: what the test above takes for granted of servers and clients.
#[test]
fn clients_and_servers_do_what_the_records_are_compared_with() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut scene = Scene::start()?;
    let played = scene.play()?;
    let exchanges: Vec<_> = played.iter().flat_map(|(_, exchanges)| exchanges).collect();
    let (connections, requests) = traffic::CROWD;
    ensure!(exchanges.len() as u64 > connections * requests);
    ensure!(
        exchanges
            .iter()
            .all(|exchange| exchange.caller.pid > 0 && exchange.caller.exe.is_absolute())
    );
    Ok(())
}
