//! A connection that was joined: frames of HTTP/2, or a request of HTTP/1, whichever is found first.
//!
//! In: pieces of both directions. Out: events of what HTTP/1 passes by, then the protocol. Never: more held than one frame
//! that could be the first; an exchange that has begun and nobody ends.

use crate::http::h1::H1;
use crate::http::{Chunk, HttpEvent, Sink, h2};

/// What the connection is.
#[derive(Debug)]
pub enum Found {
    /// With the bytes of the client that come next.
    Http1(Box<H1>, Vec<u8>),
    /// With the bytes of client and server that begin, or may begin, with a frame.
    Http2([Vec<u8>; 2]),
}

#[derive(Debug)]
pub struct Probe {
    h1: Box<H1>,
    /// Bytes of client and server that may begin with a frame of HTTP/2.
    held: [Vec<u8>; 2],
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            h1: Box::new(H1::new(true)),
            held: Default::default(),
        }
    }
}

impl Probe {
    pub fn held(&self) -> usize {
        self.h1.buffered_bytes() + self.held.iter().map(Vec::len).sum::<usize>()
    }

    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) -> Option<Found> {
        let Chunk::Data(data) = chunk else {
            self.release_one(response, sink);
            self.h1.push(response, chunk, sink);
            return self.judge(sink);
        };
        let held = &mut self.held[usize::from(response)];
        held.extend_from_slice(data);
        let (at, found) = h2::first_frames(held);
        let passed: Vec<u8> = held.drain(..at).collect();
        if !passed.is_empty() {
            self.h1.push(response, Chunk::Data(&passed), sink);
        }
        if !found || self.h1.begun() {
            return self.judge(sink);
        }
        self.h1.close(sink);
        Some(Found::Http2(std::mem::take(&mut self.held)))
    }

    fn judge(&mut self, sink: Sink<'_>) -> Option<Found> {
        if self.h1.begun() {
            return Some(self.http1(sink));
        }
        if !self.h1.gave_up() {
            return None;
        }
        // The search goes on where it is: a server of HTTP may refuse what is none.
        sink(HttpEvent::NotHttp);
        Some(self.http1(sink))
    }

    /// A request has begun. What follows it is HTTP/1, whatever it looks like; what the server had said before is no answer to it.
    fn http1(&mut self, sink: Sink<'_>) -> Found {
        let [client, server] = std::mem::take(&mut self.held);
        self.h1.answered_before(&server, sink);
        let h1 = std::mem::replace(&mut self.h1, Box::new(H1::new(true)));
        Found::Http1(h1, client)
    }

    fn release_one(&mut self, response: bool, sink: Sink<'_>) {
        let held = std::mem::take(&mut self.held[usize::from(response)]);
        self.h1.push(response, Chunk::Data(&held), sink);
    }

    /// Nothing more will come: what is held was no frame. Gives who ends what that has begun.
    pub fn release(&mut self, sink: Sink<'_>) -> Found {
        self.release_one(false, sink);
        self.http1(sink)
    }
}
