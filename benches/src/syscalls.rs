//! What a write(2) and a read(2) cost a process that nobody watches.

use anyhow::Result;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

const BYTES: usize = 64;
/// A run is measured in so many parts, of which the cheapest counts: whatever else happens on the machine only adds.
const PARTS: u32 = 100;

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

    pub fn open(self) -> Result<Channel> {
        let (from, to): (OwnedFd, OwnedFd) = match self {
            Self::Pipe => {
                let (from, to) = std::io::pipe()?;
                (from.into(), to.into())
            }
            Self::UnixSocket => {
                let (from, to) = UnixStream::pair()?;
                (from.into(), to.into())
            }
        };
        Ok(Channel {
            from: from.into(),
            to: to.into(),
        })
    }
}

/// Two ends of one kind.
#[derive(Debug)]
pub struct Channel {
    from: File,
    to: File,
}

impl Channel {
    /// Nanoseconds a system call, over `pairs` of one write and one read.
    pub fn cost(&mut self, pairs: u32) -> Result<f64> {
        let each = (pairs / PARTS).max(1);
        let mut cheapest = f64::INFINITY;
        for _ in 0..PARTS {
            cheapest = cheapest.min(self.part(each)?);
        }
        Ok(cheapest)
    }

    fn part(&mut self, pairs: u32) -> Result<f64> {
        let mut buffer = [0; BYTES];
        let start = Instant::now();
        for _ in 0..pairs {
            self.to.write_all(&buffer)?;
            self.from.read_exact(&mut buffer)?;
        }
        Ok(start.elapsed().as_nanos() as f64 / f64::from(pairs) / 2.0)
    }
}
