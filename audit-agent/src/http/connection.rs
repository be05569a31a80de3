//! Which protocol one connection speaks.
//!
//! In: pieces of both directions in the order in which they happened. Out: [`HttpEvent`]s of the protocol's reader.
//! Never: framing of any protocol.

use super::h1::H1;
use super::{Chunk, HttpEvent, Sink};

/// The longest method that a first request may have.
const METHOD_MAX: usize = 16;

/// One connection. See the module.
#[derive(Debug)]
pub struct Connection {
    /// The client's first bytes, until they are judged.
    opening: Option<Vec<u8>>,
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    Http1(Box<H1>),
    /// Nothing more is read.
    Other,
}

impl Connection {
    /// `joined`: the connection is older than our sight of it.
    pub fn new(joined: bool) -> Self {
        Self {
            opening: (!joined).then(Vec::new),
            protocol: Protocol::Http1(Box::new(H1::new(joined))),
        }
    }

    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(h1) => h1.pending(),
            Protocol::Other => false,
        }
    }

    /// Bytes that are held back until more come.
    pub fn buffered_bytes(&self) -> usize {
        match &self.protocol {
            Protocol::Http1(h1) => h1.buffered_bytes(),
            Protocol::Other => 0,
        }
    }

    /// The next piece of one direction.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        let believable = match chunk {
            Chunk::Data([]) => return,
            Chunk::Data(data) => self.believable(response, data),
            Chunk::Gap(_) => {
                self.opening = None;
                true
            }
            Chunk::Eof => true,
        };
        let Protocol::Http1(h1) = &mut self.protocol else {
            return;
        };
        if believable {
            h1.push(response, chunk, sink);
        }
        if !believable || h1.gave_up() {
            self.protocol = Protocol::Other;
            sink(HttpEvent::NotHttp);
        }
    }

    /// The connection is gone: everything open ends.
    pub fn close(&mut self, sink: Sink<'_>) {
        if let Protocol::Http1(h1) = &mut self.protocol {
            h1.close(sink);
        }
    }

    /// We look away while the connection goes on: everything open ends as a part.
    pub fn lose(&mut self, sink: Sink<'_>) {
        if let Protocol::Http1(h1) = &mut self.protocol {
            h1.lose(sink);
        }
    }

    /// A fresh connection's first bytes: HTTP/1 begins with the client's method, and HTTP/2 with one that
    /// no HTTP/1 request has.
    fn believable(&mut self, response: bool, data: &[u8]) -> bool {
        let Some(opening) = &mut self.opening else {
            return true;
        };
        opening.extend(data.iter().take(METHOD_MAX + 1));
        let word = opening
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase())
            .count();
        let believable = !response && word <= METHOD_MAX && !opening.starts_with(b"PRI ");
        let whole = word < opening.len();
        if whole && (word == 0 || opening.get(word) != Some(&b' ')) {
            return false;
        }
        if whole {
            self.opening = None;
        }
        believable
    }
}
