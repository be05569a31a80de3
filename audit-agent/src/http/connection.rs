//! Which protocol one connection speaks.
//!
//! In: pieces of both directions in the order in which they happened. Out: [`HttpEvent`]s of the protocol's reader.
//! Never: framing of any protocol.

mod opening;
mod probe;

use super::h1::{H1, Switch};
use super::h2::H2;
use super::websocket::WebSocket;
use super::{Chunk, HttpEvent, Sink};
use opening::{Judged, Opening};
use probe::Probe;

/// One connection. See the module.
#[derive(Debug)]
pub struct Connection {
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    Opening(Opening),
    Probe(Box<Probe>),
    Http1(Box<H1>),
    Http2(Box<H2>),
    WebSocket(Box<WebSocket>),
    /// Nothing more is read.
    Other,
}

impl Connection {
    /// `joined`: the connection is older than our sight of it.
    pub fn new(joined: bool) -> Self {
        Self {
            protocol: match joined {
                true => Protocol::Probe(Box::default()),
                false => Protocol::Opening(Opening::default()),
            },
        }
    }

    /// Whether an exchange is open.
    pub fn pending(&self) -> bool {
        match &self.protocol {
            Protocol::Http1(h1) => h1.pending(),
            Protocol::Http2(h2) => h2.pending(),
            Protocol::WebSocket(websocket) => websocket.pending(),
            Protocol::Opening(_) | Protocol::Probe(_) | Protocol::Other => false,
        }
    }

    /// Bytes that are held back until more come.
    pub fn buffered_bytes(&self) -> usize {
        match &self.protocol {
            Protocol::Opening(opening) => opening.held(),
            Protocol::Probe(probe) => probe.held(),
            Protocol::Http1(h1) => h1.buffered_bytes(),
            Protocol::Http2(h2) => h2.buffered_bytes(),
            Protocol::WebSocket(websocket) => websocket.buffered_bytes(),
            Protocol::Other => 0,
        }
    }

    /// The next piece of one direction.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        if matches!(chunk, Chunk::Data([])) {
            return;
        }
        match &mut self.protocol {
            Protocol::Opening(_) => self.open(response, chunk, sink),
            Protocol::Probe(probe) => {
                if let Some(found) = probe.push(response, chunk, sink) {
                    self.found(found, sink);
                }
            }
            Protocol::Http1(h1) => {
                h1.push(response, chunk, sink);
                if let Some(switch) = h1.switched() {
                    self.switch(switch, sink);
                }
            }
            Protocol::Http2(h2) => {
                h2.push(response, chunk, sink);
                if h2.gave_up() {
                    self.give_up(sink);
                }
            }
            Protocol::WebSocket(websocket) => websocket.push(response, chunk, sink),
            Protocol::Other => {}
        }
    }

    /// Everything that was sent so far has come, or was given as a gap: a request that was answered before its end is not
    /// waited for any more.
    pub fn settle(&mut self, sink: Sink<'_>) {
        match &mut self.protocol {
            Protocol::Http1(h1) => h1.settle(sink),
            Protocol::Http2(h2) => h2.settle(sink),
            Protocol::Opening(_) | Protocol::Probe(_) | Protocol::WebSocket(_) | Protocol::Other => {}
        }
    }

    /// The connection is gone: everything open ends.
    pub fn close(&mut self, sink: Sink<'_>) {
        match &mut self.protocol {
            Protocol::Probe(probe) => {
                let found = probe.release(sink);
                self.found(found, sink);
                self.close(sink);
            }
            Protocol::Http1(h1) => h1.close(sink),
            Protocol::Http2(h2) => h2.close(sink),
            Protocol::WebSocket(websocket) => websocket.close(sink),
            Protocol::Opening(opening) => opening.give_up(sink),
            Protocol::Other => {}
        }
    }

    /// We look away while the connection goes on: everything open ends as a part.
    pub fn lose(&mut self, sink: Sink<'_>) {
        match &mut self.protocol {
            Protocol::Probe(probe) => {
                let found = probe.release(sink);
                self.found(found, sink);
                return self.lose(sink);
            }
            Protocol::Http1(h1) => h1.lose(sink),
            Protocol::Http2(h2) => h2.lose(sink),
            Protocol::WebSocket(websocket) => websocket.lose(sink),
            Protocol::Opening(opening) => opening.give_up(sink),
            Protocol::Other => {}
        }
        self.protocol = Protocol::Other;
    }

    /// This is no HTTP so far. A server of HTTP may refuse that and go on, so requests are looked for as long as anybody asks.
    fn give_up(&mut self, sink: Sink<'_>) {
        self.protocol = Protocol::Http1(Box::new(H1::new(true)));
        sink(HttpEvent::NotHttp);
    }

    /// A connection that was seen from its beginning, while nobody knows what it begins.
    fn open(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        let Protocol::Opening(opening) = &mut self.protocol else {
            return;
        };
        let (judged, then) = match chunk {
            Chunk::Data(data) => (opening.data(response, data), None),
            // What is missing may have told: it is as if the connection had been joined.
            Chunk::Gap(_) => (Judged::NotYet, Some(chunk)),
            // A client that has said everything may still be answered.
            Chunk::Eof => (Judged::Http1, Some(chunk)),
        };
        let held = std::mem::take(&mut opening.held);
        self.protocol = match judged {
            Judged::NotYet if then.is_some() => Protocol::Probe(Box::default()),
            Judged::NotYet => {
                opening.held = held;
                return;
            }
            Judged::Http1 => Protocol::Http1(Box::new(H1::new(false))),
            Judged::Http2 => Protocol::Http2(Box::new(H2::new(false))),
            Judged::Unasked => {
                sink(HttpEvent::Unasked);
                Protocol::Probe(Box::default())
            }
            Judged::Other => {
                self.give_up(sink);
                return self.replay(&held, sink);
            }
        };
        self.replay(&held, sink);
        if let Some(chunk) = then {
            self.push(response, chunk, sink);
        }
    }

    /// A connection that was joined has shown what it is.
    fn found(&mut self, found: probe::Found, sink: Sink<'_>) {
        match found {
            probe::Found::Http1(h1, client) => {
                self.protocol = Protocol::Http1(h1);
                self.push(false, Chunk::Data(&client), sink);
            }
            probe::Found::Http2(held) => {
                self.protocol = Protocol::Http2(Box::new(H2::new(true)));
                self.replay(&held, sink);
            }
        }
    }

    /// The connection goes on with another protocol.
    fn switch(&mut self, switch: Switch, sink: Sink<'_>) {
        let (protocol, rest) = match switch {
            Switch::Http2 { exchange, next, rest } => {
                (Protocol::Http2(Box::new(H2::upgraded(exchange, next))), rest)
            }
            Switch::WebSocket {
                exchange,
                handshake,
                headers,
                rest,
            } => {
                let websocket = WebSocket::new(exchange, *handshake, &headers);
                (Protocol::WebSocket(Box::new(websocket)), rest)
            }
        };
        self.protocol = protocol;
        self.replay(&rest, sink);
    }

    fn replay(&mut self, held: &[Vec<u8>; 2], sink: Sink<'_>) {
        let [client, server] = held;
        self.push(false, Chunk::Data(client), sink);
        self.push(true, Chunk::Data(server), sink);
    }
}
