//! What real clients ask of real servers, one function a situation.

use anyhow::{Context, Result, ensure};
use audit_tests::client::{HeldConnection, aborted_stream, curl, openai, unique};
use audit_tests::exchange::{Exchange, Key};
use audit_tests::slm::model::{END, TOOL_CALL};
use audit_tests::slm::server::LlamaServer;
use serde_json::{Value, json};

/// Connections of [`crowd`], and how many requests each makes.
pub const CROWD: (u64, u64) = (50, 4);
/// A server with a thread for each connection of the crowd: in llama-server an idle keep-alive
/// connection holds its thread.
pub const MAIN_SERVER: &[&str] = &["--parallel", "4", "--ctx-size", "8192", "--threads-http", "64"];
pub const API_KEY: &str = "sk-test-right";
pub const KEYED_SERVER: &[&str] = &["--parallel", "1", "--ctx-size", "512", "--api-key", API_KEY];
/// Two answers share 256 cells of context, which cannot hold both to their end: the server then fails both
/// within their streams.
pub const CRAMPED_SERVER: &[&str] = &[
    "--parallel",
    "2",
    "--ctx-size",
    "256",
    "--kv-unified",
    "--cache-ram",
    "0",
];
const CHAT: &str = "/v1/chat/completions";

fn chat(label: &str, more: &Value) -> Value {
    let mut request = json!({
        "model": "tiny",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": unique(label) },
        ],
        "max_tokens": 12,
    });
    if let (Some(request), Some(more)) = (request.as_object_mut(), more.as_object()) {
        request.extend(more.clone());
    }
    request
}

fn openai_exchanges(
    label: &str,
    server: &LlamaServer,
    key: &str,
    calls: &[(u64, Value)],
) -> Result<Vec<Exchange>> {
    let seen = openai(&server.url(), key, calls).with_context(|| label.to_owned())?;
    Ok(seen
        .into_iter()
        .map(|seen| Exchange::of_openai(label, seen))
        .collect())
}

/// Plain and streamed chats with and without usage, tools, and characters of two, three and four bytes.
pub fn chats(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let calls = [
        (0, chat("plain", &json!({ "temperature": 0.5, "user": "alice" }))),
        (0, chat("größe 東京 🙂 \"quoted\"", &json!({ "seed": 7 }))),
        (0, chat("stream", &json!({ "stream": true }))),
        (
            0,
            chat(
                "stream with usage",
                &json!({ "stream": true, "stream_options": { "include_usage": true } }),
            ),
        ),
    ];
    let exchanges = openai_exchanges("chat", server, "sk-any", &calls)?;
    for exchange in &exchanges {
        ensure!(
            exchange.status == 200 && exchange.finish.as_deref() == Some("length"),
            "{exchange:#?}"
        );
        ensure!(
            exchange.text.as_ref().is_some_and(|text| !text.is_empty()),
            "{exchange:#?}"
        );
    }
    ensure!(
        exchanges[3].tokens.is_some_and(|(_, output)| output == 12),
        "{:#?}",
        exchanges[3]
    );
    Ok(exchanges)
}

/// A chat that the model has to answer with tool calls, one or more.
pub fn tools(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let parameters = json!({
        "type": "object",
        "properties": { "city": { "type": "string", "enum": ["Oslo", "Bern"] } },
        "required": ["city"],
    });
    let tools =
        json!([{ "type": "function", "function": { "name": "get_weather", "parameters": parameters } }]);
    // The grammar lets text come before the call; the bias makes one begin at once, and the answer end when it may.
    let bias = json!({ TOOL_CALL.to_string(): 100, END.to_string(): 200 });
    let more = json!({ "tools": tools, "tool_choice": "required", "max_tokens": 1000, "logit_bias": bias });
    let exchanges = openai_exchanges("tools", server, "sk-any", &[(0, chat("weather", &more))])?;
    let called = &exchanges[0].tools;
    ensure!(
        !called.is_empty() && called.iter().all(|name| name == "get_weather"),
        "{exchanges:#?}"
    );
    Ok(exchanges)
}

/// A wrong and a right key.
pub fn keys(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let mut exchanges = openai_exchanges(
        "wrong key",
        server,
        "sk-wrong",
        &[(0, chat("denied", &json!({})))],
    )?;
    ensure!(exchanges[0].status == 401, "{exchanges:#?}");
    exchanges[0].key = Key::Process(exchanges[0].caller.pid);
    exchanges.extend(openai_exchanges(
        "right key",
        server,
        API_KEY,
        &[(0, chat("let in", &json!({})))],
    )?);
    ensure!(exchanges[1].status == 200, "{exchanges:#?}");
    Ok(exchanges)
}

/// Requests that are not a chat, or not JSON: llama-server calls the latter an error of its own.
pub fn refused(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let url = server.url() + CHAT;
    [("{\"model\": \"tiny\"}", 400), ("{\"messages\": [", 500)]
        .into_iter()
        .map(|(body, status)| {
            let answer = curl(&url, body, &[])?;
            ensure!(answer.status == status, "{answer:#?}");
            let error = answer.json()?["error"]["type"].as_str().map(String::from);
            Ok(Exchange {
                error: Some(error),
                ..Exchange::of_curl("refused", CHAT, Key::Port(answer.port), &answer)
            })
        })
        .collect()
}

/// llama.cpp's own API, plain and streamed.
pub fn native(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let ask = |stream: bool| {
        let prompt = json!(unique("native"));
        let body = json!({ "prompt": &prompt, "n_predict": 9, "stream": stream });
        let answer = curl(&(server.url() + "/completion"), &body.to_string(), &[])?;
        ensure!(answer.status == 200, "{answer:#?}");
        let events = if stream {
            answer.events()?
        } else {
            vec![answer.json()?]
        };
        let last = events.last().context("an answer")?;
        let (input, output) = (
            last["tokens_evaluated"].as_u64(),
            last["tokens_predicted"].as_u64(),
        );
        ensure!(output == Some(9), "{last:#}");
        Ok(Exchange {
            stream: Some(stream),
            text: Some(
                events
                    .iter()
                    .filter_map(|event| event["content"].as_str())
                    .collect(),
            ),
            finish: last["stop_type"].as_str().map(String::from),
            tokens: input.zip(output),
            ..Exchange::of_curl("native", "/completion", Key::Prompt(prompt), &answer)
        })
    };
    Ok(vec![ask(false)?, ask(true)?])
}

/// Errors within streams whose status was 200.
pub fn failing_streams(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let long = json!({ "stream": true, "max_tokens": 200 });
    let calls = [(0, chat("left", &long)), (1, chat("right", &long))];
    let exchanges = openai_exchanges("failing stream", server, "sk-any", &calls)?;
    for exchange in &exchanges {
        let failed = matches!(&exchange.error, Some(Some(kind)) if kind == "server_error");
        ensure!(
            exchange.status == 200 && failed,
            "the server did not fail within the stream: {exchange:#?}"
        );
    }
    Ok(exchanges)
}

/// A client that is killed within a long stream.
pub fn aborted(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let request = chat("aborted", &json!({ "stream": true, "max_tokens": 2000 }));
    let (events, caller) = aborted_stream(&(server.url() + CHAT), &request.to_string(), 5)?;
    ensure!(
        events
            .iter()
            .all(|event| event["choices"][0]["finish_reason"].is_null()),
        "{events:#?}"
    );
    Ok(vec![Exchange {
        label: "aborted".into(),
        key: Key::Prompt(request["messages"].clone()),
        path: CHAT,
        status: 200,
        stream: Some(true),
        text: None,
        finish: None,
        tokens: None,
        error: Some(Some("client_abort".into())),
        tools: Vec::new(),
        caller,
    }])
}

/// Many keep-alive connections at the same time, several requests on each. One lane in five streams: the
/// package closes a connection as soon as it has read `[DONE]`, without the chunk that ends the body.
pub fn crowd(server: &LlamaServer) -> Result<Vec<Exchange>> {
    let (connections, requests) = CROWD;
    let call = |number: u64| {
        let lane = number % connections;
        (lane, chat("crowd", &json!({ "stream": lane.is_multiple_of(5) })))
    };
    let calls: Vec<_> = (0..connections * requests).map(call).collect();
    let exchanges = openai_exchanges("crowd", server, "sk-any", &calls)?;
    let good = |exchange: &&Exchange| exchange.status == 200 && exchange.finish.is_some();
    let answered = exchanges.iter().filter(good).count();
    ensure!(
        answered == calls.len(),
        "{answered} of {} calls were answered",
        calls.len()
    );
    Ok(exchanges)
}

/// A chat over a connection that has been open for some time.
pub fn held(connection: &mut HeldConnection) -> Result<Vec<Exchange>> {
    let request = chat("held", &json!({}));
    let (status, answer, caller) = connection.post(&request)?;
    ensure!(status == 200, "{answer:#}");
    let usage = &answer["usage"];
    let text = |value: &Value| value.as_str().map(String::from);
    Ok(vec![Exchange {
        label: "held connection".into(),
        key: Key::Prompt(request["messages"].clone()),
        path: CHAT,
        status,
        stream: Some(false),
        text: text(&answer["choices"][0]["message"]["content"]),
        finish: text(&answer["choices"][0]["finish_reason"]),
        tokens: usage["prompt_tokens"]
            .as_u64()
            .zip(usage["completion_tokens"].as_u64()),
        error: Some(None),
        tools: Vec::new(),
        caller,
    }])
}
