//! What a write(2) and a read(2) cost a process that nobody watches.

use anyhow::Result;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

const BYTES: usize = 64;

/// Where the bytes go.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Not a socket at all.
    Pipe,
    UnixSocket,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Pipe, Self::UnixSocket];

    pub fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe",
            Self::UnixSocket => "unix socket pair",
        }
    }

    /// Nanoseconds a system call, over `pairs` of one write and one read.
    pub fn cost(self, pairs: u32) -> Result<f64> {
        match self {
            Self::Pipe => std::io::pipe()
                .map_err(Into::into)
                .and_then(|(from, to)| exchange(from, to, pairs)),
            Self::UnixSocket => UnixStream::pair()
                .map_err(Into::into)
                .and_then(|(from, to)| exchange(from, to, pairs)),
        }
    }
}

fn exchange(mut from: impl Read, mut to: impl Write, pairs: u32) -> Result<f64> {
    let mut buffer = [0; BYTES];
    let start = Instant::now();
    for _ in 0..pairs {
        to.write_all(&buffer)?;
        from.read_exact(&mut buffer)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(pairs) / 2.0)
}
