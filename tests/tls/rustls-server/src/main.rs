//! An echo of OpenAI's chat completions over TLS by rustls. Usage: rustls-server PORT KEY CERTIFICATE
//!
//! What it answers is in tests/src/tls.rs. Each chunk of a stream comes in a turn of its own of the runtime.

use axum::extract::Json;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, body::Bytes};
use axum_server::tls_rustls::RustlsConfig;
use futures_util::{StreamExt, stream};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

static CHATS: AtomicU64 = AtomicU64::new(0);

fn refuse(status: StatusCode, message: &str) -> Response {
    let error = json!({ "message": message, "type": "invalid_request_error" });
    (status, Json(json!({ "error": error }))).into_response()
}

/// An object of the kind that answers this chat, with its choices.
fn whole(asked: &Value, count: u64, kind: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{count}"),
        "object": kind,
        "created": 1,
        "model": asked["model"],
        "choices": choices,
    })
}

fn streamed(asked: &Value, count: u64, content: &str, usage: Value) -> Response {
    let object = |choices| whole(asked, count, "chat.completion.chunk", choices);
    let chunk = |delta: Value, reason: Option<&str>| {
        object(json!([{ "index": 0, "delta": delta, "finish_reason": reason }]))
    };
    let mut chunks = vec![chunk(json!({ "role": "assistant", "content": "" }), None)];
    chunks.extend(
        content
            .split_inclusive(' ')
            .map(|piece| chunk(json!({ "content": piece }), None)),
    );
    chunks.push(chunk(json!({}), Some("stop")));
    if asked["stream_options"]["include_usage"] == true {
        let mut last = object(json!([]));
        last["usage"] = usage;
        chunks.push(last);
    }
    let lines = chunks
        .into_iter()
        .map(|chunk| chunk.to_string())
        .chain(["[DONE]".to_owned()]);
    let events = stream::iter(lines).then(|line| async move {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Event::default().data(line))
    });
    Sse::new(events).into_response()
}

async fn chat(body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let messages = asked["messages"].as_array();
    let Some(last) = messages.and_then(|messages| messages.last()?["content"].as_str()) else {
        return refuse(StatusCode::BAD_REQUEST, "no text in the last message");
    };
    let count = CHATS.fetch_add(1, Ordering::Relaxed) + 1;
    let content = format!("echo {count}: {last}");
    let words = |text: &str| text.split_inclusive(' ').count();
    let (input, output) = (words(last), words(&content));
    let usage =
        json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output });
    if asked["stream"] == true {
        return streamed(&asked, count, &content, usage);
    }
    let message = json!({ "role": "assistant", "content": content });
    let choices = json!([{ "index": 0, "message": message, "finish_reason": "stop" }]);
    let mut answer = whole(&asked, count, "chat.completion", choices);
    answer["usage"] = usage;
    Json(answer).into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, key, certificate] = &arguments[..] else {
        return Err("usage: rustls-server PORT KEY CERTIFICATE".into());
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // Without protocols to choose from a client speaks HTTP/1.1.
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let routes = Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/v1/chat/completions", post(chat))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "no such route"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse()?));
    let server = axum_server::bind_rustls(address, RustlsConfig::from_config(Arc::new(tls)));
    Ok(server.serve(routes.into_make_service()).await?)
}
