//! One request through several servers: a record of each hop, tied to the one that caused it.

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::{Answer, curl};
use audit_tests::front::Front;
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, of_type};
use audit_tests::slm::server::LlamaServer;
use audit_tests::tls::nginx::Nginx;
use audit_tests::tls::{Certificate, TlsServer};
use serde_json::{Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const CHAT: &str = "/v1/chat/completions";
/// Enough that calls which begin together are open together.
const TOKENS: u64 = 200;

/// The agent sees the whole machine: one test at a time.
static STAGE: Mutex<()> = Mutex::new(());

fn stage() -> Option<MutexGuard<'static, ()>> {
    (!live::skip()).then(|| STAGE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A watched machine.
struct Watched {
    agent: Agent,
    _dir: TempDir,
}

impl Watched {
    fn start(config: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let config = format!("{PLAIN_HASHES}{config}");
        let options = Options {
            dir: dir.path(),
            output: "json",
            config: &config,
        };
        Ok(Self {
            agent: Agent::start(options)?,
            _dir: dir,
        })
    }

    /// The inference records, once there are so many; and no more come.
    fn records(mut self, count: usize) -> Result<Vec<Value>> {
        let enough = |records: &[Value]| of_type(records, "inference").len() >= count;
        self.agent.wait_for("all records", LIMIT, enough)?;
        let log = self.agent.stop()?;
        let found: Vec<Value> = of_type(&log, "inference").into_iter().cloned().collect();
        ensure!(
            found.len() == count,
            "{} records, not {count}: {found:#?}",
            found.len()
        );
        Ok(found)
    }
}

fn ask(url: &str, prompt: &str, tokens: u64, headers: &[&str]) -> Result<Answer> {
    let body = json!({"max_tokens": tokens, "messages": [{"role": "user", "content": prompt}]});
    let headers: Vec<&str> = headers.iter().flat_map(|header| ["--header", header]).collect();
    let answer = curl(&format!("{url}{CHAT}"), &body.to_string(), &headers)?;
    ensure!(answer.status == 200, "{answer:?}");
    Ok(answer)
}

/// Asks from several clients at the same time.
fn ask_together(url: &str, prompts: &[String], headers: impl Fn(usize) -> Vec<String> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let headers = &headers;
        let asked: Vec<_> = prompts
            .iter()
            .enumerate()
            .map(|(lane, prompt)| {
                scope.spawn(move || {
                    let headers = headers(lane);
                    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                    ask(url, prompt, TOKENS, &headers)
                })
            })
            .collect();
        asked
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a client does not panic").map(drop))
    })
}

fn outermost(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["hop"] == 0).collect()
}

fn inner(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["hop"] != 0).collect()
}

/// The record that caused `inner`.
fn cause<'a>(records: &'a [Value], inner: &Value) -> Result<&'a Value> {
    records
        .iter()
        .find(|record| record["exchange_id"] == inner["caused_by"])
        .with_context(|| format!("no cause of {inner:#}"))
}

/// Each inner call is tied by `how` to an outer one with the same answer: these fronts give the answer on as it is.
fn tied(records: &[Value], how: &str) -> Result<()> {
    for call in inner(records) {
        ensure!(call["link"] == how, "not by {how}: {call:#}");
        let outer = cause(records, call)?;
        ensure!(
            outer["response_id"] == call["response_id"] && outer["response_id"].is_string(),
            "crossed: {call:#} {outer:#}"
        );
        ensure!(
            call["client"]["process"]["pid"] == outer["server"]["process"]["pid"],
            "the front is the client: {call:#}"
        );
    }
    Ok(())
}

fn lanes(count: usize, prompt: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(prompt).collect()
}

#[test]
fn a_request_through_nginx_has_two_records_and_one_is_the_answer() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let server = LlamaServer::start(&[])?;
    let front = Front::nginx(&server.url())?;
    let watched = Watched::start("")?;
    for n in 0..3 {
        ask(&front.url(), &format!("question {n}"), 3, &[])?;
    }
    ask_together(&front.url(), &lanes(3, |n| format!("at once {n}")), |_| {
        Vec::new()
    })?;
    let records = watched.records(12)?;
    ensure!(outermost(&records).len() == 6, "{records:#?}");
    tied(&records, "prompt_hash")?;
    for call in inner(&records) {
        ensure!(call["direction"] == "inbound" && call["hop"] == 1, "{call:#}");
        ensure!(call["server"]["process"]["pid"] == server.pid(), "{call:#}");
    }
    Ok(())
}

#[test]
fn equal_prompts_at_one_time_are_never_crossed_and_a_trace_tells_them_apart() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let server = LlamaServer::start(&["--parallel", "4"])?;
    let front = Front::nginx(&server.url())?;
    let watched = Watched::start("")?;
    let same = lanes(4, |_| "the very same question".into());
    ask_together(&front.url(), &same, |_| Vec::new())?;
    ask_together(&front.url(), &same, |lane| {
        vec![format!("traceparent: 00-{:032x}-00000000000000ff-01", lane + 1)]
    })?;
    let records = watched.records(16)?;
    let (traced, plain): (Vec<Value>, Vec<Value>) = records
        .into_iter()
        .partition(|record| record["traceparent"].is_string());
    tied(&traced, "traceparent")?;
    ensure!(outermost(&traced).len() == 4 && outermost(&plain).len() == 4);
    let mut ambiguous = 0;
    for call in inner(&plain) {
        if call["link"] == "ambiguous" {
            ambiguous += 1;
            let candidates = call["link_candidates"].as_array().context("candidates")?;
            let right = outermost(&plain)
                .into_iter()
                .find(|outer| outer["response_id"] == call["response_id"])
                .context("an outer call")?;
            ensure!(candidates.contains(&right["exchange_id"]) && call["caused_by"].is_null());
        } else {
            // The first to come was alone.
            ensure!(
                cause(&plain, call)?["response_id"] == call["response_id"],
                "crossed: {call:#}"
            );
        }
    }
    ensure!(ambiguous > 0, "the calls were not open together");
    Ok(())
}

#[test]
fn a_front_that_writes_requests_anew_is_tied_by_the_prompt() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let server = LlamaServer::start(&[])?;
    let watched = Watched::start("")?;
    let front = Front::python(&server.url(), None)?;
    ask_together(&front.url(), &lanes(3, |n| format!("rewritten {n}")), |_| {
        Vec::new()
    })?;
    let records = watched.records(6)?;
    tied(&records, "prompt_hash")
}

#[test]
fn three_hops_are_counted() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let server = LlamaServer::start(&[])?;
    let middle = Front::python(&server.url(), None)?;
    let front = Front::nginx(&middle.url())?;
    let watched = Watched::start("")?;
    ask(&front.url(), "through two", 3, &[])?;
    let records = watched.records(3)?;
    tied(&records, "prompt_hash")?;
    let mut hops: Vec<_> = records
        .iter()
        .filter_map(|record| record["hop"].as_u64())
        .collect();
    hops.sort_unstable();
    ensure!(hops == [0, 1, 2], "{hops:?}");
    Ok(())
}

/// The server behind is left out by the configuration, as one on another host is by nature.
#[test]
fn what_a_server_asks_of_one_that_is_not_watched_is_recorded_at_the_front() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let server = LlamaServer::start(&[])?;
    let front = Front::python(&server.url(), None)?;
    let watched = Watched::start(&format!("[filter]\nports = [{}]\n", front.port()))?;
    ask(&front.url(), "elsewhere", 3, &[])?;
    ask(&front.url(), "twice", 3, &["X-Ask-Twice: yes"])?;
    let records = watched.records(5)?;
    ensure!(outermost(&records).len() == 2);
    for call in inner(&records) {
        ensure!(
            call["direction"] == "upstream" && call["capture"]["state"] == "complete",
            "{call:#}"
        );
        ensure!(call["server"]["port"] == server.port(), "{call:#}");
        ensure!(
            call["server"]["process"].is_null() && call["status"] == 200,
            "{call:#}"
        );
        let outer = cause(&records, call)?;
        ensure!(
            outer["prompt_hash"] == call["prompt_hash"] && call["link"] == "prompt_hash",
            "{call:#}"
        );
    }
    Ok(())
}

#[test]
fn what_a_server_asks_over_tls_is_recorded_at_the_front() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let certificate = Certificate::create()?;
    let server = Nginx::start(&certificate, LlamaServer::start(&[])?, 1)?;
    let watched = Watched::start("")?;
    // Started later, so that its use of the library is seen from the begin.
    let url = format!("https://localhost:{}", server.port());
    let front = Front::python(&url, Some(&certificate.ca()))?;
    ask(&front.url(), "over tls", 3, &[])?;
    let records = watched.records(3)?;
    tied(&records, "prompt_hash")?;
    ensure!(records.iter().any(|record| record["hop"] == 2), "{records:#?}");
    Ok(())
}
