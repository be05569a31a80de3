//! A connection that was joined: HTTP/1, until frames of HTTP/2 are found.
//!
//! In: pieces of both directions. Out: events of what HTTP/1 passes by, then the protocol. Never: more held than one frame
//! that could be the first.

use crate::http::h1::H1;
use crate::http::{Chunk, Sink, h2};

/// What the connection is.
#[derive(Debug)]
pub enum Found {
    Http1(Box<H1>),
    /// With the bytes of client and server that begin, or may begin, with a frame.
    Http2([Vec<u8>; 2]),
    Other,
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
            return self.judge();
        };
        let held = &mut self.held[usize::from(response)];
        held.extend_from_slice(data);
        let (at, found) = h2::first_frames(held);
        let passed: Vec<u8> = held.drain(..at).collect();
        if !passed.is_empty() {
            self.h1.push(response, Chunk::Data(&passed), sink);
        }
        match found {
            true => Some(Found::Http2(std::mem::take(&mut self.held))),
            false => self.judge(),
        }
    }

    fn judge(&mut self) -> Option<Found> {
        if self.h1.gave_up() {
            return Some(Found::Other);
        }
        let begun = self.h1.begun() && self.held.iter().all(Vec::is_empty);
        begun.then(|| Found::Http1(std::mem::replace(&mut self.h1, Box::new(H1::new(true)))))
    }

    fn release_one(&mut self, response: bool, sink: Sink<'_>) {
        let held = std::mem::take(&mut self.held[usize::from(response)]);
        self.h1.push(response, Chunk::Data(&held), sink);
    }

    /// Nothing more will come: what is held was nothing.
    pub fn release(&mut self, sink: Sink<'_>) {
        self.release_one(false, sink);
        self.release_one(true, sink);
        self.h1.close(sink);
    }
}
