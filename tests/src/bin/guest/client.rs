//! A client that waits for the whole of each answer.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;

/// A connection to a server's place: a port of the loopback or the path of a unix socket.
pub fn connect(place: &str) -> Result<Client> {
    let (reader, writer): (Box<dyn Read>, Box<dyn Write>) = match place.parse::<u16>() {
        Ok(port) => {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            (Box::new(stream.try_clone()?), Box::new(stream))
        }
        Err(_) => {
            let stream = UnixStream::connect(place)?;
            (Box::new(stream.try_clone()?), Box::new(stream))
        }
    };
    let reader = BufReader::new(reader);
    Ok(Client { reader, writer })
}

/// One connection, kept.
pub struct Client {
    reader: BufReader<Box<dyn Read>>,
    writer: Box<dyn Write>,
}

impl Client {
    /// Posts a body and gives the answer's.
    pub fn post(&mut self, body: &Value) -> Result<Vec<u8>> {
        let body = body.to_string();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json";
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.writer.write_all(request.as_bytes())?;
        let head = self.head()?;
        ensure!(head.starts_with("http/1.1 200"), "the server answered {head:?}");
        match head.lines().find_map(|line| line.strip_prefix("content-length:")) {
            Some(length) => self.bytes(length.trim().parse()?),
            None => self.chunks(),
        }
    }

    /// The lines up to the empty one, in lower case.
    fn head(&mut self) -> Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            ensure!(
                self.reader.read_line(&mut head)? > 0,
                "the server closed the connection"
            );
        }
        Ok(head.to_ascii_lowercase())
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16).context("a chunk's length")?;
            body.extend(self.bytes(length)?);
            self.bytes(2)?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}
