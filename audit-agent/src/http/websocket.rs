//! WebSocket (RFC 6455, RFC 7692) as a passive reader sees it.
//!
//! In: pieces of both directions after the handshake's answer. Out: [`HttpEvent::Message`] for each whole message,
//! [`HttpEvent::MessageLost`] for what is none, and the end of the exchange that the handshake began. Never: a message of
//! which bytes are missing; text that is not UTF-8.

mod deflate;
mod direction;
mod frame;

use super::message::Message;
use super::{BodyState, Chunk, Headers, HttpEvent, Sink};
use deflate::Agreed;
use direction::{Direction, Piece};

/// The WebSocket of one connection.
#[derive(Debug)]
pub struct WebSocket {
    directions: [Direction; 2],
    session: Session,
}

/// Everything but the framing.
#[derive(Debug)]
struct Session {
    exchange: u64,
    /// The answer to the handshake; None once the exchange is over.
    handshake: Option<Message>,
    closed: [bool; 2],
    broken: Option<&'static str>,
    /// Messages are missing.
    lost: bool,
}

impl WebSocket {
    /// `handshake` is the answer that has `headers`, under way since its head.
    pub fn new(exchange: u64, handshake: Message, headers: &Headers) -> Self {
        let agreed = Agreed::new(headers);
        let keeps = |side: usize| agreed.deflate.and_then(|keeps| keeps.get(side).copied());
        Self {
            directions: [0, 1].map(|side| Direction::new(keeps(side), agreed.unknown)),
            session: Session {
                exchange,
                handshake: Some(handshake),
                closed: [false; 2],
                broken: None,
                lost: false,
            },
        }
    }

    /// Whether the exchange is open.
    pub fn pending(&self) -> bool {
        self.session.handshake.is_some()
    }

    /// Bytes that are held back until more come.
    pub fn buffered_bytes(&self) -> usize {
        self.directions.iter().map(Direction::held).sum()
    }

    /// The next piece of one direction.
    pub fn push(&mut self, response: bool, chunk: Chunk<'_>, sink: Sink<'_>) {
        let Self { directions, session } = self;
        if session.handshake.is_none() {
            return;
        }
        let [client, server] = directions;
        let direction = if response { server } else { client };
        let mut each = |piece: Piece<'_>| session.piece(response, piece, sink);
        match chunk {
            Chunk::Data(data) => direction.push(data, &mut each),
            Chunk::Gap(len) => direction.gap(len, &mut each),
            Chunk::Eof => {
                direction.finish(&mut each);
                direction.stop("bytes behind the end");
            }
        }
        if self.session.closed == [true; 2] {
            self.close(sink);
        }
    }

    /// The connection is gone: the exchange ends, as its peers said or without their saying so.
    pub fn close(&mut self, sink: Sink<'_>) {
        self.end(BodyState::Aborted, sink);
    }

    /// We look away while the connection goes on.
    pub fn lose(&mut self, sink: Sink<'_>) {
        self.session.lost = true;
        self.end(BodyState::Gap, sink);
    }

    fn end(&mut self, unsaid: BodyState, sink: Sink<'_>) {
        let Self { directions, session } = self;
        if session.handshake.is_none() {
            return;
        }
        for (direction, response) in directions.iter_mut().zip([false, true]) {
            direction.finish(&mut |piece| session.piece(response, piece, sink));
            direction.stop("bytes behind the end");
        }
        session.end(unsaid, sink);
    }
}

impl Session {
    fn piece(&mut self, response: bool, piece: Piece<'_>, sink: Sink<'_>) {
        let exchange = self.exchange;
        match piece {
            Piece::Message {
                binary,
                data,
                wire_bytes,
            } => sink(HttpEvent::Message {
                exchange,
                response,
                binary,
                data,
                wire_bytes,
            }),
            Piece::Lost { why, seen, missed } => {
                self.lost = true;
                sink(HttpEvent::MessageLost {
                    exchange,
                    response,
                    why,
                    seen,
                    missed,
                });
            }
            Piece::Close { code, reason } => {
                self.closed[usize::from(response)] = true;
                sink(HttpEvent::CloseFrame {
                    exchange,
                    response,
                    code,
                    reason,
                });
            }
            Piece::Broken(why) => self.broken = self.broken.or(Some(why)),
        }
    }

    fn end(&mut self, unsaid: BodyState, sink: Sink<'_>) {
        let Some(handshake) = self.handshake.take() else {
            return;
        };
        let state = match self.broken {
            Some(why) => BodyState::Malformed(why),
            None if self.lost => BodyState::Gap,
            None if self.closed.contains(&true) => BodyState::Complete,
            None => unsaid,
        };
        sink(HttpEvent::ResponseEnd {
            exchange: self.exchange,
            end: handshake.end(state),
        });
    }
}

#[cfg(test)]
mod tests;
