//! The first bytes of a connection that was seen from its beginning.
//!
//! In: pieces of both directions. Out: the protocol that they begin. Never: more held than a preface is long.

use crate::http::{HttpEvent, Sink, h2};

/// The longest method that a first request may have.
const METHOD_MAX: usize = 16;

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judged {
    NotYet,
    Http1,
    Http2,
    /// The server answers in HTTP/1 what nobody was seen to ask.
    Unasked,
    Other,
}

/// The client's and the server's first bytes.
#[derive(Debug, Default)]
pub struct Opening {
    pub held: [Vec<u8>; 2],
}

impl Opening {
    pub fn held(&self) -> usize {
        self.held.iter().map(Vec::len).sum()
    }

    /// Nothing more comes: what is held belongs to nothing.
    pub fn give_up(&mut self, sink: Sink<'_>) {
        for (held, response) in self.held.iter_mut().zip([false, true]) {
            let seen = std::mem::take(held).len() as u64;
            if seen > 0 {
                sink(HttpEvent::Skipped {
                    response,
                    seen,
                    missed: 0,
                });
            }
        }
    }

    /// The next piece of one direction; all of it is held, for who reads on.
    pub fn data(&mut self, response: bool, data: &[u8]) -> Judged {
        let [client, server] = &mut self.held;
        if response {
            server.extend_from_slice(data);
            return judge_server(server);
        }
        client.extend_from_slice(data);
        judge_client(client)
    }
}

/// HTTP/2 begins with its preface, HTTP/1 with a method.
fn judge_client(bytes: &[u8]) -> Judged {
    if bytes.starts_with(h2::PREFACE) {
        return Judged::Http2;
    }
    if h2::PREFACE.starts_with(bytes) {
        return Judged::NotYet;
    }
    // Servers pass by what is blank before a request line (RFC 9112 section 2.2).
    if bytes.first().is_some_and(u8::is_ascii_whitespace) {
        return Judged::Http1;
    }
    let word = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let preface = bytes.starts_with(b"PRI ");
    match bytes.get(word) {
        _ if word > METHOD_MAX || preface => Judged::Other,
        None => Judged::NotYet,
        Some(b' ') if word > 0 => Judged::Http1,
        Some(_) => Judged::Other,
    }
}

/// Only in HTTP/2 may the server speak first: its settings, which are no answer to the client's. A status line (RFC 9112 section 4)
/// answers a request that is missing.
fn judge_server(bytes: &[u8]) -> Judged {
    const STATUS_LINE: &[u8] = b"HTTP/1.";
    /// With its minor version and a status.
    const WITH_STATUS: usize = 12;
    if bytes.starts_with(STATUS_LINE) {
        return match bytes.get(..WITH_STATUS) {
            None => Judged::NotYet,
            // A server says so to who has not asked anything for too long (RFC 9110 section 15.5.9).
            Some(line) if line.ends_with(b" 408") => Judged::Other,
            Some(_) => Judged::Unasked,
        };
    }
    if STATUS_LINE.starts_with(bytes) {
        return Judged::NotYet;
    }
    match h2::begins_with_settings(bytes) {
        None => Judged::NotYet,
        Some(true) => Judged::Http2,
        Some(false) => Judged::Other,
    }
}
