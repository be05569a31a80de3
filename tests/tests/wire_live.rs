//! Real peers that speak HTTP/2, gRPC and WebSocket, the agent beside them, and one true record of every exchange.

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::{curl, curl_tls};
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, canonical_hash, declared_missing, of_type, sha256, with_prompt};
use audit_tests::slm::server::LlamaServer;
use audit_tests::tls::nginx::Nginx;
use audit_tests::tls::{Certificate, TlsServer};
use audit_tests::wire::{Peer, Talk, tools, websocket_node, websocket_python};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Records come out within the agent's flush interval; more only where the machine is busy.
const RECORDS_LIMIT: Duration = Duration::from_secs(30);
const CHATS: &str = "/v1/chat/completions";
/// Calls of h2load on one connection, and how many of them are under way at once.
const FLOOD: usize = 200;
const AT_ONCE: usize = 50;

/// The agent sees the whole machine: one test at a time.
static STAGE: Mutex<()> = Mutex::new(());

fn start(dir: &tempfile::TempDir) -> Result<Agent> {
    Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: PLAIN_HASHES,
    })
}

fn of_port(records: &[Value], port: u16) -> Vec<&Value> {
    let of_port = |record: &&Value| record["server"]["port"] == port;
    of_type(records, "inference")
        .into_iter()
        .filter(of_port)
        .collect()
}

/// Waits for so many records of servers' ports, ends the agent and gives its log.
fn finish(agent: &mut Agent, expected: &[(u16, usize)]) -> Result<Vec<Value>> {
    agent.wait_for("a record of every exchange", RECORDS_LIMIT, |records| {
        expected
            .iter()
            .all(|(port, count)| of_port(records, *port).len() >= *count)
    })?;
    let records = agent.stop()?;
    for (port, count) in expected {
        let found = of_port(&records, *port).len();
        ensure!(
            found == *count,
            "{found} records of port {port}, expected {count}"
        );
    }
    Ok(records)
}

fn chat(text: &str, stream: bool) -> Value {
    json!({ "model": "echo", "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

/// The record of a chat, complete and over HTTP/2, with the answer that its client had.
fn check_chat<'a>(records: &'a [Value], request: &Value, answer: &str) -> Result<&'a Value> {
    let record = with_prompt(records, &canonical_hash(&request["messages"])?)?;
    let checks = [
        ("protocol", &record["endpoint"]["protocol"], json!("HTTP/2")),
        ("path", &record["endpoint"]["path"], json!(CHATS)),
        (
            "completion",
            &record["completion_hash"],
            json!(sha256(answer.as_bytes())),
        ),
        ("stream", &record["stream"], request["stream"].clone()),
        ("state", &record["capture"]["state"], json!("complete")),
        ("missed", &record["capture"]["bytes_missed"], json!(0)),
    ];
    for (name, found, expected) in checks {
        ensure!(
            *found == expected,
            "{name} is {found}, expected {expected}: {record:#}"
        );
    }
    Ok(record)
}

/// The text of an answer, streamed or not.
fn text_of(body: &str) -> Result<String> {
    if let Ok(json) = serde_json::from_str::<Value>(body) {
        let text = json["choices"][0]["message"]["content"].as_str();
        return Ok(text.context("no text in the answer")?.to_owned());
    }
    let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let events = data.filter(|data| *data != "[DONE]").map(serde_json::from_str);
    let events: Vec<Value> = events.collect::<Result<_, _>>()?;
    let piece = |event: &Value| {
        event["choices"][0]["delta"]["content"]
            .as_str()
            .map(str::to_owned)
    };
    Ok(events.iter().filter_map(piece).collect())
}

fn held_call(text: &str, stream: bool) -> (Value, String) {
    let request = chat(text, stream);
    let line = json!({ "path": CHATS, "body": request }).to_string();
    (request, line)
}

#[test]
fn every_exchange_of_plain_http2_has_its_record() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if live::skip() {
        return Ok(());
    }
    let Some(tools) = live::prerequisite(tools()) else {
        return Ok(());
    };
    let (node, nghttpd) = (Peer::node()?, Peer::nghttpd()?);
    let mut held = Talk::node(&node)?;
    held.say(&[
        held_call("before the agent", false).1,
        held_call("as well", true).1,
    ])?;
    let dir = tempfile::tempdir()?;
    let mut agent = start(&dir)?;

    // A connection that is older than the agent, with calls at once.
    let joined = [
        held_call("joined", false),
        held_call("joined and streamed größe", true),
        held_call("joined again", false),
    ];
    let lines = joined.each_ref().map(|(_, line)| line.clone());
    let said = held.say(&lines)?;
    let mut expected = Vec::new();
    for ((request, _), said) in joined.iter().zip(answers_of(&joined, &said)?) {
        expected.push((request.clone(), said, true));
    }
    for (text, stream) in [("curl", false), ("curl with a stream of some words", true)] {
        let request = chat(text, stream);
        let answer = curl(&node.chats(), &request.to_string(), &["--http2-prior-knowledge"])?;
        ensure!(answer.status == 200, "{answer:#?}");
        expected.push((request, text_of(&answer.body)?, false));
    }
    let body = dir.path().join("body.json");
    std::fs::write(&body, chat("one of many", false).to_string())?;
    let flood = Command::new(&tools.h2load)
        .args(["-n", &FLOOD.to_string(), "-c", "1", "-m", &AT_ONCE.to_string()])
        .args(["-H", "content-type: application/json", "-d"])
        .arg(&body)
        .arg(node.chats())
        .output()?;
    let flood = String::from_utf8_lossy(&flood.stdout).into_owned();
    ensure!(flood.contains(&format!("{FLOOD} succeeded")), "{flood}");
    let upload = Command::new(&tools.nghttp)
        .args([
            "--no-verify-peer",
            "-H",
            "content-type: application/json",
            "--data",
        ])
        .arg(&body)
        .arg(nghttpd.chats())
        .output()?;
    ensure!(upload.stdout == std::fs::read(&body)?, "{upload:?}");

    let calls = expected.len() + FLOOD;
    let records = finish(&mut agent, &[(node.port(), calls), (nghttpd.port(), 1)])?;
    for (request, answer, joined) in &expected {
        let record = check_chat(&records, request, answer)?;
        ensure!(record["capture"]["joined"] == *joined, "{record:#}");
    }
    let flooded = canonical_hash(&chat("one of many", false)["messages"])?;
    let flooded: Vec<_> = of_port(&records, node.port())
        .into_iter()
        .filter(|record| record["prompt_hash"] == flooded)
        .collect();
    let answers: std::collections::BTreeSet<_> = flooded
        .iter()
        .filter(|record| record["capture"]["state"] == "complete" && record["status"] == 200)
        .map(|record| record["completion_hash"].to_string())
        .collect();
    // The echo counts, so no answer is like another: one that was paired wrongly would be missing here.
    ensure!(answers.len() == FLOOD, "{} different answers", answers.len());
    let upload = of_port(&records, nghttpd.port())[0];
    ensure!(
        upload["request_body_hash"] == sha256(&std::fs::read(&body)?)
            && upload["response_body_hash"] == upload["request_body_hash"],
        "{upload:#}"
    );
    ensure!(declared_missing(&records) == 0, "{:#?}", of_type(&records, "gap"));
    Ok(())
}

/// The texts that a client had, in the order of its requests: the echo names the text that it answers.
fn answers_of(calls: &[(Value, String)], said: &[Value]) -> Result<Vec<String>> {
    let texts: Vec<String> = said
        .iter()
        .map(|said| text_of(said["body"].as_str().unwrap_or_default()))
        .collect::<Result<_>>()?;
    let answer = |(request, _): &(Value, String)| {
        let asked = request["messages"][0]["content"].as_str().unwrap_or_default();
        let own = |text: &&String| text.split_once(": ").is_some_and(|(_, echo)| echo == asked);
        texts
            .iter()
            .find(own)
            .cloned()
            .context("a call without its answer")
    };
    calls.iter().map(answer).collect()
}

#[test]
fn http2_inside_tls_has_its_records() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if live::skip() {
        return Ok(());
    }
    let Some(()) = live::prerequisite(Nginx::prepare()) else {
        return Ok(());
    };
    let server = Nginx::start_http2(&Certificate::create()?, LlamaServer::start(&[])?, 1)?;
    let dir = tempfile::tempdir()?;
    let mut agent = start(&dir)?;
    let mut expected = Vec::new();
    for (text, stream) in [("inside TLS", false), ("inside TLS and streamed", true)] {
        let request = json!({
            "max_tokens": 12,
            "stream": stream,
            "messages": [{ "role": "user", "content": text }]
        });
        let url = format!("{}{CHATS}", server.url());
        let answer = curl_tls(&url, &server.ca(), &request.to_string(), &["--http2"])?;
        ensure!(answer.status == 200, "{answer:#?}");
        expected.push((request, text_of(&answer.body)?));
    }
    let ports = [(server.port(), 2), (server.upstream().port(), 2)];
    let records = finish(&mut agent, &ports)?;
    let outside: Vec<Value> = of_port(&records, server.port()).into_iter().cloned().collect();
    for (request, answer) in &expected {
        let record = check_chat(&outside, request, answer)?;
        ensure!(record["capture"]["tls"].is_object(), "{record:#}");
    }
    Ok(())
}

#[test]
fn every_grpc_call_has_its_record() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if live::skip() {
        return Ok(());
    }
    let Some(_) = live::prerequisite(tools()) else {
        return Ok(());
    };
    let server = Peer::grpc()?;
    let kinds = ["short", "compressed", "missing", "stream", "live"].map(str::to_owned);
    let mut older = Talk::grpc(&server)?;
    older.say(&kinds)?;
    let dir = tempfile::tempdir()?;
    let mut agent = start(&dir)?;
    let said = Talk::grpc(&server)?.say(&kinds)?;
    // Its table is older than the agent, which knows no path of its calls.
    older.say(&kinds)?;
    drop(older);

    let records = finish(&mut agent, &[(server.port(), 4)])?;
    for said in said.iter().filter(|said| said["kind"] != "live") {
        let hashes = ["request", "response"].map(|side| (side, said[side].clone()));
        let own = |record: &&&Value| record["request_body_hash"] == said["request"];
        let of_server = of_port(&records, server.port());
        let record = of_server.iter().find(own).with_context(|| format!("{said:#}"))?;
        for (side, hash) in hashes {
            let nothing = said["answers"] == 0 && side == "response";
            let found = &record[format!("{side}_body_hash")];
            ensure!(
                nothing || *found == hash,
                "{side} of {record:#} is not that of {said:#}"
            );
        }
        let error = (said["status"] != "OK").then(|| "grpc_not_found".to_owned());
        ensure!(record["error_type"] == json!(error), "{record:#}");
        ensure!(
            record["api"] == "kserve_grpc" && record["capture"]["state"] == "complete",
            "{record:#}"
        );
        if error.is_some() {
            let message = "no model \"a/b\", 100% sure: größe";
            ensure!(record["error_message"] == message, "{record:#}");
        }
    }
    let gaps = of_type(&records, "gap");
    let declared = gaps
        .iter()
        .any(|gap| gap["where"] == "reassembly" && gap["lost_bytes"]["unassigned"].as_u64() > Some(1000));
    ensure!(declared, "the calls without a path are not declared: {gaps:#?}");
    Ok(())
}

/// What `websocket_server.py` says for each `response.create`.
const MESSAGES_OF_A_RESPONSE: u64 = 14;
const DELTAS_OF_A_RESPONSE: u64 = 11;

#[test]
fn every_response_on_a_websocket_has_its_record() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if live::skip() {
        return Ok(());
    }
    let Some(_) = live::prerequisite(tools()) else {
        return Ok(());
    };
    let server = Peer::websocket()?;
    let dir = tempfile::tempdir()?;
    let mut agent = start(&dir)?;
    let sessions = [
        websocket_python(&server, true, true)?,
        websocket_python(&server, false, true)?,
        websocket_python(&server, true, false)?,
        websocket_node(&server)?,
    ];
    let compressed = |said: &&Value| said["agreed"].is_string();
    ensure!(sessions.iter().filter(compressed).count() >= 2, "{sessions:#?}");
    let messages: u64 = sessions.iter().filter_map(|said| said["answers"].as_u64()).sum();
    let responses = usize::try_from(messages / MESSAGES_OF_A_RESPONSE)?;
    let records = finish(&mut agent, &[(server.port(), responses)])?;
    let of_sessions = of_port(&records, server.port());
    for record in &of_sessions {
        ensure!(
            record["capture"]["state"] == "complete"
                && record["completeness"] == "complete"
                && record["chunks"] == DELTAS_OF_A_RESPONSE
                && record["output_tokens"] == DELTAS_OF_A_RESPONSE
                && record["request_body_hash"].is_string()
                && record["endpoint"]["path"] == "/v1/realtime",
            "{record:#}"
        );
    }
    // Each response says the same, compressed or not, in fragments or not.
    let texts: std::collections::BTreeSet<_> = of_sessions
        .iter()
        .map(|record| record["completion_hash"].to_string())
        .collect();
    ensure!(texts.len() == 1 && !texts.contains("null"), "{texts:?}");
    ensure!(declared_missing(&records) == 0, "{:#?}", of_type(&records, "gap"));
    Ok(())
}
