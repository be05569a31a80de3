//! Many streams at once.
//!
//! In: a client, a server, a number. Out: what each stream's caller saw; the prompt of each is unique on this machine,
//! so that its record can be found. Never: fewer streams than were asked for.

use super::Seen;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many streams are a crowd.
pub const CROWD: u64 = 50;

/// [`super::openai_tls`] or [`super::node_tls`].
pub type TlsClient = fn(&str, &Path, &str, &[(u64, Value)]) -> Result<Vec<Seen>>;

/// Text that no other request on this machine has.
pub fn unique(label: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{label} {} {number}", std::process::id())
}

/// A chat of one unique message.
pub fn chat(label: &str, stream: bool) -> Value {
    let mut chat = json!({
        "model": "tiny",
        "messages": [{ "role": "user", "content": unique(label) }],
        "max_tokens": 12,
        "stream": stream,
    });
    if stream {
        chat["stream_options"] = json!({ "include_usage": true });
    }
    chat
}

/// Starts so many streams at the same time, each on a connection of its own, and waits for their ends.
pub fn crowd(client: TlsClient, server_url: &str, ca: &Path, streams: u64) -> Result<Vec<Seen>> {
    let calls: Vec<_> = (0..streams)
        .map(|lane| (lane, chat(&format!("crowd {lane}"), true)))
        .collect();
    let seen = client(server_url, ca, "sk-crowd", &calls)?;
    let whole = |seen: &&Seen| seen.status == 200 && seen.finish_reason.is_some();
    let found = seen.iter().filter(whole).count() as u64;
    ensure!(
        found == streams,
        "{found} of {streams} streams came to their end: {seen:#?}"
    );
    Ok(seen)
}
