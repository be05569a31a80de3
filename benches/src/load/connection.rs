//! One keep-alive connection of the load: a fixed request, and where its answer ends.

use crate::mock::PATH;
use anyhow::{Context, Result, bail, ensure};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

/// An answer's head fits in here many times over.
const HEAD_BYTES: usize = 8 * 1024;
const LAST_CHUNK: &[u8; 5] = b"0\r\n\r\n";

/// How much of an answer is still to come.
#[derive(Debug)]
enum Rest {
    /// Collecting the head.
    Head(Vec<u8>),
    Bytes(usize),
    /// Until [`LAST_CHUNK`]; holds the newest bytes. The data itself has no carriage return, so nothing
    /// else looks like it.
    Chunks([u8; 5]),
}

#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    request: Arc<[u8]>,
    scheduled: Option<Instant>,
    rest: Rest,
    buffer: Box<[u8]>,
}

/// A chat request whose body has about `bytes` bytes.
pub fn request(stream: bool, bytes: usize) -> Arc<[u8]> {
    let before = format!(
        "{{\"stream\":{stream},\"model\":\"mock\",\"max_tokens\":64,\"messages\":[{{\"role\":\"user\",\"content\":\""
    );
    let after = "\"}]}";
    let text = "what was asked of which model and by whom ";
    let filler = bytes.saturating_sub(before.len() + after.len());
    let text: String = text.chars().cycle().take(filler).collect();
    let body = before + &text + after;
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: audit-benches\r\nAuthorization: Bearer sk-load\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes().into()
}

impl Connection {
    pub fn open(port: u16, request: Arc<[u8]>) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let buffer = vec![0; 64 * 1024].into_boxed_slice();
        Ok(Self {
            stream,
            request,
            scheduled: None,
            rest: Rest::Head(Vec::new()),
            buffer,
        })
    }

    /// Sends the request whose time was `scheduled`.
    pub fn send(&mut self, scheduled: Instant) -> Result<()> {
        let mut unsent: &[u8] = &self.request;
        while !unsent.is_empty() {
            match self.stream.write(unsent) {
                Ok(written) => unsent = &unsent[written..],
                // Only bodies larger than the socket's buffer get here; the server is reading them.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error).context("sending a request"),
            }
        }
        self.scheduled = Some(scheduled);
        self.rest = Rest::Head(Vec::new());
        Ok(())
    }

    /// Reads what is there; gives the time of the request when its answer is whole.
    pub fn receive(&mut self) -> Result<Option<Instant>> {
        loop {
            let read = match self.stream.read(&mut self.buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("reading an answer"),
            };
            if self.rest.advance(&self.buffer[..read])? {
                return Ok(self.scheduled.take());
            }
            // A short read emptied the socket: no need to ask again.
            if read < self.buffer.len() {
                return Ok(None);
            }
        }
    }
}

impl Rest {
    /// True when the answer ends with these bytes.
    fn advance(&mut self, bytes: &[u8]) -> Result<bool> {
        match self {
            Self::Head(head) => {
                head.extend_from_slice(bytes);
                ensure!(
                    head.len() <= HEAD_BYTES + 64 * 1024,
                    "an answer without an end of its head"
                );
                let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return Ok(false);
                };
                let body = head.split_off(end + 4);
                *self = Self::after_head(head)?;
                self.advance(&body)
            }
            Self::Bytes(left) => {
                *left = left
                    .checked_sub(bytes.len())
                    .context("more bytes than Content-Length says")?;
                Ok(*left == 0)
            }
            Self::Chunks(tail) => {
                let keep = bytes.len().min(tail.len());
                tail.rotate_left(keep);
                let from = tail.len() - keep;
                tail[from..].copy_from_slice(&bytes[bytes.len() - keep..]);
                Ok(tail == LAST_CHUNK)
            }
        }
    }

    fn after_head(head: &[u8]) -> Result<Self> {
        let head = std::str::from_utf8(head)?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "the server answered {head:?}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        match length {
            Some(length) => Ok(Self::Bytes(length.parse()?)),
            None => Ok(Self::Chunks([0; 5])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends_at(answer: &[u8]) -> Result<Option<usize>> {
        let mut rest = Rest::Head(Vec::new());
        for (at, byte) in answer.chunks(1).enumerate() {
            if rest.advance(byte)? {
                return Ok(Some(at + 1));
            }
        }
        Ok(None)
    }

    #[test]
    fn answers_end_where_their_framing_says() -> Result<()> {
        let sized = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
        assert_eq!(ends_at(sized)?, Some(sized.len()));
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        assert_eq!(ends_at(chunked)?, Some(chunked.len()));
        Ok(())
    }

    #[test]
    fn requests_have_the_asked_size() {
        let request = request(false, 1024);
        let body = request
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .map(|at| request.len() - at - 4);
        assert_eq!(body, Some(1024));
    }
}
