//! Clients that wait for the whole of each answer, and count what they sent and received.

use super::place;
use anyhow::{Context, Result, ensure};
use nix::sys::socket::{Shutdown, shutdown};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// How a client makes its requests.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// All on one connection.
    KeepAlive,
    /// A connection for each, which the server closes.
    Closing,
    /// A connection for each, of which the client closes its half after the request.
    HalfClosing,
}

/// What was moved on one connection.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    pub from: Option<SocketAddr>,
    /// Where the server listens.
    pub place: String,
    pub sent: u64,
    pub received: u64,
    /// Of each request and its answer, without framing.
    pub bodies: Vec<[Vec<u8>; 2]>,
}

impl Moved {
    pub fn bytes(&self) -> u64 {
        self.sent + self.received
    }
}

/// Posts every body to the server `pid` at `place`.
pub fn post_all(place: &str, pid: u32, manner: Manner, bodies: &[String]) -> Result<Vec<Moved>> {
    if manner == Manner::KeepAlive {
        return Ok(vec![post(place, pid, manner, bodies)?]);
    }
    let each = bodies
        .iter()
        .map(|body| post(place, pid, manner, std::slice::from_ref(body)));
    each.collect()
}

fn post(place: &str, pid: u32, manner: Manner, bodies: &[String]) -> Result<Moved> {
    let mut session = Session::open(place, pid, manner)?;
    for body in bodies {
        session.post(body)?;
    }
    session.close()
}

/// One connection.
pub struct Session {
    reader: BufReader<File>,
    manner: Manner,
    moved: Moved,
}

impl Session {
    /// Connects to the server `pid` at `place`.
    pub fn open(place: &str, pid: u32, manner: Manner) -> Result<Self> {
        let place::Connected { socket, from } = place::connect(place, pid)?;
        let mut session = Self::over(socket, place);
        (session.manner, session.moved.from) = (manner, from);
        Ok(session)
    }

    /// A connection that somebody else made, for all requests.
    pub fn over(socket: File, place: &str) -> Self {
        Self {
            reader: BufReader::new(socket),
            manner: Manner::KeepAlive,
            moved: Moved {
                place: place.to_owned(),
                ..Moved::default()
            },
        }
    }

    /// Posts a body and takes the whole answer.
    pub fn post(&mut self, body: &str) -> Result<()> {
        let answer = self.exchange(body)?;
        self.moved.bodies.push([body.as_bytes().to_vec(), answer]);
        Ok(())
    }

    /// Ends the connection, or sees that the server does.
    pub fn close(mut self) -> Result<Moved> {
        if self.manner != Manner::KeepAlive {
            let mut rest = Vec::new();
            self.reader.read_to_end(&mut rest)?;
            ensure!(rest.is_empty(), "bytes after the answer");
        }
        Ok(self.moved)
    }

    /// Posts a body and gives the answer's.
    fn exchange(&mut self, body: &str) -> Result<Vec<u8>> {
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let last = if self.manner == Manner::KeepAlive {
            ""
        } else {
            "Connection: close\r\n"
        };
        let request = format!("{head}\r\n{last}Content-Length: {}\r\n\r\n{body}", body.len());
        self.reader.get_mut().write_all(request.as_bytes())?;
        self.moved.sent += request.len() as u64;
        if self.manner == Manner::HalfClosing {
            shutdown(self.reader.get_ref().as_raw_fd(), Shutdown::Write)?;
        }
        let head = self.head()?;
        ensure!(head.starts_with("http/1.1 200"), "the server answered {head:?}");
        match head.lines().find_map(|line| line.strip_prefix("content-length:")) {
            Some(length) => self.bytes(length.trim().parse()?),
            None => self.chunks(),
        }
    }

    fn line(&mut self, line: &mut String) -> Result<()> {
        let count = self.reader.read_line(line)?;
        ensure!(count > 0, "the server closed the connection");
        self.moved.received += count as u64;
        Ok(())
    }

    /// The lines up to the empty one, in lower case.
    fn head(&mut self) -> Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            self.line(&mut head)?;
        }
        Ok(head.to_ascii_lowercase())
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        self.moved.received += count as u64;
        Ok(bytes)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).context("a chunk's length")?;
            body.extend(self.bytes(length)?);
            self.bytes(2)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}
