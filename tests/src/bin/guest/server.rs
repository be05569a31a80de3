//! An inference server in a process of its own: it answers from memory, by the system calls it is told to use.
//!
//! In: `CALLS PLACE`, a port of the loopback or the path of a unix socket. Out: `listening` on stdout, then answers.

use super::channel::{Calls, Channel};
use super::exchange::Answer;
use anyhow::{Context, Result};
use audit_tests::process::Guard;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// A server for `calls` at `place`, listening.
pub fn start(calls: Calls, place: &str) -> Result<Guard> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", calls.name(), place])
        .stdout(Stdio::piped());
    let mut server = Guard::spawn(&mut command)?;
    let stdout = server
        .child_mut()
        .stdout
        .take()
        .context("the server has a stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    anyhow::ensure!(line == "listening\n", "the server at {place} said {line:?}");
    Ok(server)
}

/// Serves until the process is ended.
pub fn run(calls: Calls, place: &str) -> Result<()> {
    match place.parse::<u16>() {
        Ok(port) => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
            println!("listening");
            listener.incoming().for_each(|socket| serve(socket, calls));
        }
        Err(_) => {
            let listener = UnixListener::bind(place)?;
            println!("listening");
            listener.incoming().for_each(|socket| serve(socket, calls));
        }
    }
    Ok(())
}

/// One connection in a thread of its own.
fn serve<S: Into<OwnedFd> + Send + 'static>(socket: std::io::Result<S>, calls: Calls) {
    let Ok(socket) = socket else { return };
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(64 * 1024, Channel::new(socket, calls));
        // A client that is done, or gone, ends the connection and nothing else.
        while let Ok(Some(body)) = request(&mut reader) {
            if answer(reader.get_mut(), &body).is_err() {
                return;
            }
        }
    });
}

/// The body of the next request; None at the end.
fn request(reader: &mut impl BufRead) -> Result<Option<Value>> {
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        line.clear();
    }
    if line.is_empty() {
        return Ok(None);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

fn answer(channel: &mut Channel, body: &Value) -> Result<()> {
    let answer = Answer::to(body)?;
    if answer.stream {
        return stream(channel, &answer);
    }
    let message = json!({"role": "assistant", "content": answer.text()});
    let body = json!({
        "id": "chatcmpl-guest", "object": "chat.completion", "created": 1_760_000_000, "model": "guest",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": answer.usage(),
    });
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    Ok(channel.send(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes())?)
}

/// One chunk for each word, as a server does that sends token by token.
fn stream(channel: &mut Channel, answer: &Answer) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    channel.send(head.as_bytes())?;
    for word in &answer.words {
        let choice = json!({"index": 0, "delta": {"content": word}, "finish_reason": null});
        channel.send(event(&json!([choice]), &Value::Null).as_bytes())?;
    }
    let last = json!({"index": 0, "delta": {}, "finish_reason": "stop"});
    channel.send(event(&json!([last]), &Value::Null).as_bytes())?;
    channel.send(event(&json!([]), &answer.usage()).as_bytes())?;
    channel.send(chunk("data: [DONE]\n\n").as_bytes())?;
    Ok(channel.send(b"0\r\n\r\n")?)
}

fn event(choices: &Value, usage: &Value) -> String {
    let event = json!({
        "id": "chatcmpl-guest", "object": "chat.completion.chunk", "created": 1_760_000_000, "model": "guest",
        "choices": choices, "usage": usage,
    });
    chunk(&format!("data: {event}\n\n"))
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}
