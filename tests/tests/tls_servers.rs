//! Every TLS server of the harness with every client, without the agent: what tests of TLS capture take for granted.

use anyhow::{Context, Result, ensure};
use audit_tests::client::{
    self, Answer, HeldConnection, Seen, aborted_stream_tls, chat, crowd, curl_tls, node_tls, openai_tls,
};
use audit_tests::live;
use audit_tests::slm::server::LlamaServer;
use audit_tests::tls::gnutls::Gnutls;
use audit_tests::tls::golang::Golang;
use audit_tests::tls::llama::LlamaTls;
use audit_tests::tls::nginx::Nginx;
use audit_tests::tls::node::Node;
use audit_tests::tls::rustls::Rustls;
use audit_tests::tls::uvicorn::Uvicorn;
use audit_tests::tls::{Certificate, TlsServer};
use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// One server at a time: the machine is small.
static STAGE: Mutex<()> = Mutex::new(());

/// How the answer of a server is known.
#[derive(Clone, Copy)]
enum Answers {
    /// What `tests/src/tls.rs` says of echoes.
    Echo,
    /// Words of a random model.
    Salad,
    /// The same without `usage` in streams.
    SaladUncounted,
}

impl Answers {
    fn check(self, request: &Value, text: &str) -> Result<()> {
        let said = request["messages"][0]["content"].as_str().unwrap_or_default();
        let right = match self {
            Self::Echo => {
                let (head, echo) = text.split_once(": ").unwrap_or_default();
                let count = head
                    .strip_prefix("echo ")
                    .and_then(|count| count.parse::<u64>().ok());
                count.is_some_and(|count| count > 0) && echo == said
            }
            Self::Salad | Self::SaladUncounted => text.contains(' '),
        };
        ensure!(right, "the answer to {said:?} is {text:?}");
        Ok(())
    }
}

fn text_of_stream(answer: &Answer) -> Result<String> {
    let events = answer.events()?;
    let pieces = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    Ok(pieces.collect())
}

fn curl_exchanges(server: &dyn TlsServer, answers: Answers) -> Result<()> {
    let url = format!("{}/v1/chat/completions", server.url());
    let plain = chat("curl plain", false);
    let answer = curl_tls(&url, &server.ca(), &plain.to_string(), &[])?;
    ensure!(answer.status == 200, "{answer:#?}");
    let json = answer.json()?;
    let text = json["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_default();
    answers.check(&plain, text)?;
    let streamed = chat("curl größe 東京 🙂 \"quoted\"", true);
    let answer = curl_tls(&url, &server.ca(), &streamed.to_string(), &[])?;
    ensure!(answer.body.trim_end().ends_with("data: [DONE]"), "{answer:#?}");
    answers.check(&streamed, &text_of_stream(&answer)?)?;
    let aborted = chat("aborted", true).to_string();
    let (events, _) = aborted_stream_tls(&url, &server.ca(), &aborted, 3)?;
    ensure!(events.len() == 3, "{events:#?}");
    Ok(())
}

fn check_seen(request: &Value, seen: &Seen, answers: Answers) -> Result<()> {
    let counted = seen.output_tokens.is_some_and(|tokens| tokens > 0);
    let uncounted = matches!(answers, Answers::SaladUncounted) && request["stream"] == true;
    ensure!(seen.status == 200 && (counted || uncounted), "{seen:#?}");
    answers.check(request, seen.text.as_deref().unwrap_or_default())
}

fn library_exchanges(server: &dyn TlsServer, client: client::TlsClient, answers: Answers) -> Result<()> {
    // Two calls on one connection, and one on a second.
    let calls = [
        (0, chat("plain", false)),
        (0, chat("stream", true)),
        (1, chat("stream", true)),
    ];
    let seen = client(&server.url(), &server.ca(), "sk-test", &calls)?;
    for seen in &seen {
        check_seen(&seen.request, seen, answers)?;
    }
    Ok(())
}

fn held_exchange(server: &dyn TlsServer, answers: Answers) -> Result<()> {
    let mut held = HeldConnection::open_tls(server.port(), "/v1/chat/completions", &server.ca())?;
    for _ in 0..2 {
        let request = chat("held", false);
        let (status, answer, _) = held.post(&request)?;
        ensure!(status == 200, "{answer:#}");
        let text = answer["choices"][0]["message"]["content"].as_str();
        answers.check(&request, text.unwrap_or_default())?;
    }
    Ok(())
}

fn all_clients(server: &dyn TlsServer, answers: Answers) -> Result<()> {
    curl_exchanges(server, answers).context("curl")?;
    library_exchanges(server, openai_tls, answers).context("openai")?;
    held_exchange(server, answers).context("a held connection")?;
    if live::prerequisite(Node::prepare()).is_none() {
        return Ok(());
    }
    library_exchanges(server, node_tls, answers).context("node")?;
    for seen in crowd(node_tls, &server.url(), &server.ca(), client::CROWD)? {
        check_seen(&seen.request, &seen, answers)?;
    }
    Ok(())
}

fn smoke(server: &dyn TlsServer, answers: Answers) -> Result<()> {
    all_clients(server, answers).with_context(|| format!("{server:?}, which says:\n{}", server.log()))
}

#[test]
fn llama_server_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(LlamaTls::prepare()) else {
        return Ok(());
    };
    let server = LlamaTls::start(&Certificate::create()?, LLAMA)?;
    ensure!(server.maps("libssl.so")?, "the shared build has libssl mapped");
    smoke(&server, Answers::Salad)
}

#[test]
fn llama_server_with_openssl_inside_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(LlamaTls::prepare_static()) else {
        return Ok(());
    };
    let server = LlamaTls::start_static(&Certificate::create()?, LLAMA)?;
    ensure!(!server.maps("libssl")?, "this build has its OpenSSL inside");
    smoke(&server, Answers::Salad)
}

#[test]
fn llama_cpp_for_python_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Uvicorn::prepare()) else {
        return Ok(());
    };
    smoke(
        &Uvicorn::start(&Certificate::create()?, &[])?,
        Answers::SaladUncounted,
    )
}

/// A thread for each connection of a crowd.
const LLAMA: &[&str] = &["--parallel", "4", "--ctx-size", "8192", "--threads-http", "64"];

#[test]
fn nginx_answers_for_a_plain_llama_server() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Nginx::prepare()) else {
        return Ok(());
    };
    let server = Nginx::start(&Certificate::create()?, LlamaServer::start(LLAMA)?, 2)?;
    ensure!(server.pids().len() == 2, "{server:?}");
    smoke(&server, Answers::Salad)?;
    let workers = server.pids();
    drop(server);
    for worker in workers {
        let left = std::fs::read_to_string(format!("/proc/{worker}/comm")).unwrap_or_default();
        ensure!(!left.starts_with("nginx"), "worker {worker} was left behind");
    }
    Ok(())
}

#[test]
fn node_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Node::prepare()) else {
        return Ok(());
    };
    smoke(&Node::start(&Certificate::create()?)?, Answers::Echo)
}

#[test]
fn go_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Golang::prepare()) else {
        return Ok(());
    };
    smoke(&Golang::start(&Certificate::create()?)?, Answers::Echo)
}

#[test]
fn gnutls_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Gnutls::prepare()) else {
        return Ok(());
    };
    let server = Gnutls::start(&Certificate::create()?)?;
    ensure!(
        server.maps("libgnutls.so")? && !server.maps("libssl")?,
        "GnuTLS and nothing else"
    );
    smoke(&server, Answers::Echo)
}

#[test]
fn rustls_answers_over_tls() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(()) = live::prerequisite(Rustls::prepare()) else {
        return Ok(());
    };
    smoke(&Rustls::start(&Certificate::create()?)?, Answers::Echo)
}
