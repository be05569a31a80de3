//! An inference server in a process of its own: it answers from memory, by the system calls it is told to use.
//!
//! In: `CALLS HOLDER PLACE`. Out: `listening` on stdout, then answers.

use super::channel::Channel;
use super::exchange::Answer;
use super::holder::Holder;
use anyhow::{Context, Result};
use audit_tests::process::Guard;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::mpsc;

/// More than one call of the largest exchange moves.
const BUFFER: usize = 64 * 1024;

/// A server for `calls` at `place`, listening.
pub fn start(calls: &str, holder: Holder, place: &str) -> Result<Guard> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["serve", calls, &holder.name(), place])
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
pub fn run(calls: &str, holder: &str, place: &str) -> Result<()> {
    let holder = Holder::by_name(holder).with_context(|| format!("unknown holder {holder}"))?;
    // Its children end with it.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    holder.run(calls, place, || println!("listening"))
}

/// Answers until the client is done or gone, which ends the connection and nothing else.
pub fn serve(channel: Channel) {
    let mut reader = BufReader::with_capacity(BUFFER, channel);
    while let Ok(Some(request)) = request(&mut reader) {
        if answer(reader.get_mut(), &request).is_err() || request.last {
            return;
        }
    }
}

/// As [`serve`], with a thread that sends what this one asks it to.
pub fn serve_apart(socket: &OwnedFd, calls: &str) -> Result<()> {
    let mut sender = Channel::new(socket.try_clone()?, calls)?;
    let (requests, received) = mpsc::channel::<Request>();
    let sending = std::thread::spawn(move || {
        for request in received {
            if answer(&mut sender, &request).is_err() {
                return;
            }
        }
    });
    let mut reader = BufReader::with_capacity(BUFFER, Channel::new(socket.try_clone()?, calls)?);
    while let Some(request) = request(&mut reader)? {
        requests.send(request)?;
    }
    drop(requests);
    sending.join().ok().context("the sending thread panicked")
}

#[derive(Debug)]
struct Request {
    body: Value,
    /// The client wants no more on this connection.
    last: bool,
}

/// The next request; None at the end.
fn request(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let (mut length, mut last) = (0, false);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        last |= lower.trim_end() == "connection: close";
        line.clear();
    }
    if line.is_empty() {
        return Ok(None);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body)?;
    Ok(Some(Request { body, last }))
}

fn answer(channel: &mut Channel, request: &Request) -> Result<()> {
    let answer = Answer::to(&request.body)?;
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
    let bytes = format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes();
    let last = answer.last_call.min(bytes.len());
    let (first, second) = bytes.split_at(bytes.len() - last);
    channel.send(first)?;
    Ok(channel.send(second)?)
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
