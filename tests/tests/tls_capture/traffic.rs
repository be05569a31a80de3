//! What real clients ask of a TLS server, one function a situation.

use crate::kinds::Kind;
use anyhow::{Context, Result, ensure};
use audit_tests::client::{
    CROWD, HeldConnection, Seen, TlsClient, aborted_stream_tls, chat, crowd, curl_tls, node_tls, openai_tls,
};
use audit_tests::exchange::{CHAT, Exchange, Key};
use audit_tests::tls::TlsServer;
use serde_json::json;

/// Enough that curl is killed long before the end.
const LONG: u64 = 2000;

fn chat_url(server: &dyn TlsServer) -> String {
    server.url() + CHAT
}

fn of_seen(label: &str, seen: Vec<Seen>) -> Result<Vec<Exchange>> {
    let exchanges: Vec<_> = seen
        .into_iter()
        .map(|seen| Exchange::of_openai(label, seen))
        .collect();
    for exchange in &exchanges {
        let answered = exchange.text.as_ref().is_some_and(|text| !text.is_empty());
        ensure!(exchange.status == 200 && answered, "{exchange:#?}");
    }
    Ok(exchanges)
}

/// A chat by a curl of its own.
fn by_curl(server: &dyn TlsServer, label: &str, stream: bool) -> Result<Exchange> {
    let request = chat(label, stream);
    let answer = curl_tls(&chat_url(server), &server.ca(), &request.to_string(), &[])?;
    ensure!(answer.status == 200, "{answer:#?}");
    Exchange::of_chat(label, &request, &answer)
}

pub fn curls(server: &dyn TlsServer) -> Result<Vec<Exchange>> {
    Ok(vec![
        by_curl(server, "curl", false)?,
        by_curl(server, "curl größe 東京 🙂 \"quoted\"", true)?,
    ])
}

/// A client that is killed within a stream.
pub fn aborted(server: &dyn TlsServer, kind: &Kind) -> Result<Exchange> {
    let mut request = chat("aborted", true);
    if kind.long_streams {
        request["max_tokens"] = json!(LONG);
    }
    let (_, caller) = aborted_stream_tls(&chat_url(server), &server.ca(), &request.to_string(), 3)?;
    Ok(Exchange {
        label: "aborted".into(),
        key: Key::Prompt(request["messages"].clone()),
        path: CHAT,
        status: 200,
        stream: Some(true),
        text: None,
        finish: None,
        tokens: None,
        error: kind.long_streams.then(|| Some("client_abort".into())),
        tools: Vec::new(),
        caller,
    })
}

/// Two calls on one connection of a client library, and one on a second.
pub fn library(server: &dyn TlsServer, label: &str, client: TlsClient) -> Result<Vec<Exchange>> {
    let calls = [
        (0, chat(label, false)),
        (0, chat(label, true)),
        (1, chat(label, true)),
    ];
    of_seen(label, client(&server.url(), &server.ca(), "sk-test", &calls)?)
}

/// Streams at the same time from one process.
pub fn node_crowd(server: &dyn TlsServer) -> Result<Vec<Exchange>> {
    of_seen("crowd", crowd(node_tls, &server.url(), &server.ca(), CROWD)?)
}

/// Streams at the same time, each from a process of its own: a record that names another's process has the wrong
/// socket.
pub fn curl_crowd(server: &(dyn TlsServer + Sync)) -> Result<Vec<Exchange>> {
    std::thread::scope(|scope| {
        let curls: Vec<_> = (0..CROWD)
            .map(|number| scope.spawn(move || by_curl(server, &format!("curl crowd {number}"), true)))
            .collect();
        curls
            .into_iter()
            .map(|curl| {
                curl.join()
                    .map_err(|_| anyhow::anyhow!("a curl's thread panicked"))?
            })
            .collect()
    })
}

/// A chat over a connection that has been open for some time.
pub fn held(connection: &mut HeldConnection) -> Result<Exchange> {
    let request = chat("held", false);
    let (status, answer, caller) = connection.post(&request)?;
    ensure!(status == 200, "{answer:#}");
    let choice = &answer["choices"][0];
    let text = |value: &serde_json::Value| value.as_str().map(String::from);
    Ok(Exchange {
        label: "held connection".into(),
        key: Key::Prompt(request["messages"].clone()),
        path: CHAT,
        status,
        stream: Some(false),
        text: text(&choice["message"]["content"]),
        finish: text(&choice["finish_reason"]),
        tokens: None,
        error: Some(None),
        tools: Vec::new(),
        caller,
    })
}

/// Everything, over new connections and the one that is older than the agent.
pub fn all(
    server: &(dyn TlsServer + Sync),
    kind: &Kind,
    connection: &mut HeldConnection,
) -> Result<Vec<Exchange>> {
    let first = held(connection).context("a held connection")?;
    let mut exchanges: Vec<_> = (!kind.waits_inside).then_some(first).into_iter().collect();
    exchanges.extend(curls(server).context("curl")?);
    exchanges.push(aborted(server, kind).context("an aborted stream")?);
    exchanges.extend(library(server, "openai", openai_tls).context("openai")?);
    exchanges.extend(library(server, "node", node_tls).context("node")?);
    exchanges.extend(node_crowd(server).context("a crowd")?);
    exchanges.extend(curl_crowd(server).context("a crowd of processes")?);
    exchanges.push(held(connection).context("a held connection")?);
    Ok(exchanges)
}
