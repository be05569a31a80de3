//! A stream socket moved by one kind of system call.
//!
//! In: a connected socket. Out: its bytes, by exactly the calls that the case is about.

mod flags;
mod many;
mod pipes;
mod plain;
mod ring;
mod signals;

use std::fmt::Debug;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One way to move bytes.
pub trait Moves: Debug + Send {
    /// Receives into the front of `buffer`; 0 at the end.
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends some of the bytes.
    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize>;
}

/// Makes the way with this name.
pub fn by_name(name: &str) -> io::Result<Box<dyn Moves>> {
    Ok(match name {
        "file" => Box::new(plain::File),
        "socket" => Box::new(plain::Socket),
        "vector" => Box::new(many::Vectors(3)),
        "vectors_200" => Box::new(many::Vectors(200)),
        "vectors_1024" => Box::new(many::Vectors(1024)),
        "message" => Box::new(many::Message(3)),
        "message_200" => Box::new(many::Message(200)),
        "message_1024" => Box::new(many::Message(1024)),
        "messages_1" => Box::new(many::Messages(1)),
        "messages_5" => Box::new(many::Messages(5)),
        "messages_100" => Box::new(many::Messages(100)),
        "peek" => Box::new(flags::Peek),
        "discard" => Box::new(flags::Discard),
        "wait_all" => Box::new(flags::WaitAll),
        "dont_wait" => Box::new(flags::DontWait),
        "zero_copy" => Box::new(flags::ZeroCopy),
        "small_buffer" => Box::new(flags::SmallBuffer),
        "interrupted" => Box::new(signals::Interrupted::new(false)?),
        "restarted" => Box::new(signals::Interrupted::new(true)?),
        "sendfile" => Box::new(pipes::SendFile),
        "splice_out" => Box::new(pipes::SpliceOut { mapped: false }),
        "vmsplice" => Box::new(pipes::SpliceOut { mapped: true }),
        "splice_in" => Box::new(pipes::SpliceIn),
        "uring" => Box::new(ring::Ring::new(ring::Kind::Socket)?),
        "uring_vectors" => Box::new(ring::Ring::new(ring::Kind::Vectors)?),
        "uring_messages" => Box::new(ring::Ring::new(ring::Kind::Messages)?),
        "uring_buffers" => Box::new(ring::Ring::new(ring::Kind::Buffers)?),
        "uring_at_times" => Box::new(ring::Alternating::new()?),
        _ => return Err(io::Error::other(format!("unknown calls {name}"))),
    })
}

#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    moves: Box<dyn Moves>,
}

impl Channel {
    pub fn new(socket: impl Into<OwnedFd>, calls: &str) -> io::Result<Self> {
        Ok(Self {
            socket: socket.into(),
            moves: by_name(calls)?,
        })
    }

    /// Sends everything, as pieces of one call where the calls have pieces.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let sent = self.moves.send(self.socket.as_fd(), left)?;
            left = &left[sent..];
        }
        Ok(())
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.moves.receive(self.socket.as_fd(), buffer)
    }
}
