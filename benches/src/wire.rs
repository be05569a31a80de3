//! How fast the readers of HTTP/1.1, HTTP/2, gRPC and WebSocket give bodies, side by side in one run.
//!
//! In: the same exchanges, written in each protocol. Out: body bytes a second of each. Never: a kernel, a decoder of an API, a
//! signature: what is measured is `audit_agent::http` and the digests of bodies; those of messages are taken behind it, as the
//! pipeline does.

use crate::report::median;
use anyhow::{Result, ensure};
use audit_agent::http::{Chunk, Connection, HttpEvent};
use flate2::{Compress, Compression, FlushCompress};
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Bytes of one body, and of the pieces in which a connection is captured.
const BODY: usize = 256 * 1024;
const PIECE: usize = 16 * 1024;
/// What most senders of HTTP/2 put into one frame.
const FRAME: usize = 16 * 1024;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What client (false) and server said, in turn.
type Talk = Vec<(bool, Vec<u8>)>;

/// A connection's bytes, as pieces of client and server in turn.
#[derive(Debug)]
pub struct Wire {
    pub name: &'static str,
    pieces: Talk,
    /// Body bytes that have to come out.
    body_bytes: u64,
}

impl Wire {
    /// Each protocol with so many exchanges; the first is what others are compared with.
    pub fn all(exchanges: u32) -> Vec<Self> {
        let body = body();
        let of = |name, talk: fn(u32, &[u8]) -> Talk| {
            let cut = |(response, bytes): (bool, Vec<u8>)| {
                let pieces: Vec<_> = bytes
                    .chunks(PIECE)
                    .map(|piece| (response, piece.to_vec()))
                    .collect();
                pieces
            };
            Self {
                name,
                pieces: talk(exchanges, &body).into_iter().flat_map(cut).collect(),
                body_bytes: u64::from(exchanges) * 2 * BODY as u64,
            }
        };
        vec![
            of("HTTP/1.1", http1),
            of("HTTP/2", |exchanges, body| {
                http2(exchanges, body, "application/json")
            }),
            of("gRPC", grpc),
            of("WebSocket", |exchanges, body| websocket(exchanges, body, None)),
            of("WebSocket, permessage-deflate", |exchanges, body| {
                websocket(exchanges, body, Some([packer(), packer()]))
            }),
        ]
    }

    /// Body bytes a second, in millions, of one reading.
    pub fn read(&self) -> Result<f64> {
        let (mut delivered, mut digest) = (0, Sha256::new());
        let mut count = |event: HttpEvent<'_>| match event {
            HttpEvent::RequestBody { data, .. } | HttpEvent::ResponseBody { data, .. } => {
                delivered += data.len() as u64;
            }
            HttpEvent::Message { data, .. } => {
                delivered += data.len() as u64;
                digest.update(data);
            }
            _ => {}
        };
        let mut connection = Connection::new(false);
        let start = Instant::now();
        for (response, bytes) in &self.pieces {
            connection.push(*response, Chunk::Data(bytes), &mut count);
        }
        let digest = digest.finalize();
        let elapsed = start.elapsed();
        std::hint::black_box(digest);
        connection.close(&mut |_| {});
        ensure!(
            delivered == self.body_bytes,
            "{}: {delivered} of {} bytes",
            self.name,
            self.body_bytes
        );
        Ok(delivered as f64 / elapsed.as_secs_f64() / 1e6)
    }
}

/// The table: medians over rounds in which all take turns.
pub fn table(exchanges: u32, rounds: usize) -> Result<String> {
    let wires = Wire::all(exchanges);
    let mut figures = vec![Vec::new(); wires.len()];
    for _ in 0..rounds {
        for (wire, figures) in wires.iter().zip(&mut figures) {
            figures.push(wire.read()?);
        }
    }
    let mut table =
        String::from("| reading 256 KiB bodies on one core | bodies | against HTTP/1.1 |\n|---|--:|--:|\n");
    for (wire, own) in wires.iter().zip(&figures) {
        let ratios = own.iter().zip(&figures[0]).map(|(own, first)| own / first);
        let (speed, ratio) = (median(own.iter().copied()), median(ratios));
        table += &format!(
            "| {} | {:.0} MB/s | {:.2} |\n",
            wire.name,
            speed.unwrap_or_default(),
            ratio.unwrap_or_default()
        );
    }
    Ok(table)
}

/// Text that compresses as prose does, about to a third.
fn body() -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "the ", "model ", "answers ", "with ", "words ", "that ", "nobody ", "has ", "read ", "before ",
        "and ", "a ", "record ", "of ", "each ", "call. ",
    ];
    let mut state = 1u32;
    let mut text = String::with_capacity(BODY + 16);
    while text.len() < BODY {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(WORDS[(state >> 28) as usize]);
    }
    text.truncate(BODY);
    text.into_bytes()
}

fn http1(exchanges: u32, body: &[u8]) -> Talk {
    let head = |start: &str| {
        format!("{start}\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n").into_bytes()
    };
    let ask = [head("POST /x HTTP/1.1\r\nHost: a"), body.to_vec()].concat();
    let answer = [head("HTTP/1.1 200 OK"), body.to_vec()].concat();
    let turn = || [(false, ask.clone()), (true, answer.clone())];
    (0..exchanges).flat_map(|_| turn()).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A head with literal fields, and the body in frames of the usual size.
fn message(stream: u32, block: &[u8], body: &[u8]) -> Vec<u8> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let mut bytes = frame(HEADERS, END_HEADERS, stream, block);
    for part in body.chunks(FRAME) {
        bytes.extend(frame(DATA, 0, stream, part));
    }
    bytes.extend(frame(DATA, END_STREAM, stream, &[]));
    bytes
}

fn http2(exchanges: u32, body: &[u8], kind: &str) -> Talk {
    /// Fields of the static table: POST, http, 200; a literal path.
    const ASK: &[u8] = b"\x83\x86\x04\x02/x";
    const ANSWER: &[u8] = b"\x88";
    const CONTENT_TYPE: &[u8] = &[0x0f, 0x10];
    let with_kind = |block: &[u8]| [block, CONTENT_TYPE, &[kind.len() as u8], kind.as_bytes()].concat();
    let settings = frame(4, 0, 0, &[]);
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    let mut talk = vec![(false, preface), (true, settings)];
    for at in 0..exchanges {
        let stream = at * 2 + 1;
        talk.push((false, message(stream, &with_kind(ASK), body)));
        talk.push((true, message(stream, &with_kind(ANSWER), body)));
    }
    talk
}

fn grpc(exchanges: u32, body: &[u8]) -> Talk {
    let mut message = vec![0];
    message.extend((body.len() as u32).to_be_bytes());
    message.extend(body);
    http2(exchanges, &message, "application/grpc")
}

fn packer() -> Compress {
    Compress::new(Compression::default(), false)
}

fn websocket(exchanges: u32, body: &[u8], mut packers: Option<[Compress; 2]>) -> Talk {
    const TEXT: u8 = 0x81;
    const PACKED: u8 = 0x40;
    let extension = match packers {
        Some(_) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        None => "",
    };
    let ask = b"GET /v1/realtime HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    let answer = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{extension}\r\n");
    let mut talk = vec![(false, ask.to_vec()), (true, answer.into_bytes())];
    for at in 0..2 * exchanges {
        let response = at % 2 == 1;
        let (payload, first) = match &mut packers {
            Some(packers) => (pack(&mut packers[usize::from(response)], body), TEXT | PACKED),
            None => (body.to_vec(), TEXT),
        };
        let masked = if response { 0 } else { 0x80 };
        let mut bytes = vec![first, masked | 127];
        bytes.extend((payload.len() as u64).to_be_bytes());
        if response {
            bytes.extend(payload);
        } else {
            bytes.extend(MASK);
            bytes.extend(
                payload
                    .iter()
                    .zip(MASK.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        }
        talk.push((response, bytes));
    }
    talk
}

fn pack(packer: &mut Compress, body: &[u8]) -> Vec<u8> {
    /// What the sender leaves out (RFC 7692 section 7.2.1).
    const TAIL: usize = 4;
    let mut out = Vec::with_capacity(body.len() + 1024);
    // Writing into memory cannot fail, and there is room.
    let _ = packer.compress_vec(body, &mut out, FlushCompress::Sync);
    out.truncate(out.len().saturating_sub(TAIL));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_carries_the_same_bodies() -> Result<()> {
        for wire in Wire::all(2) {
            wire.read()?;
        }
        Ok(())
    }
}
