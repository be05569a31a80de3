//! A stream socket moved by one kind of system call.
//!
//! In: a connected socket. Out: its bytes, by exactly the calls that the case is about.

use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrStorage, recv, recvmsg, send, sendmsg};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::str::FromStr;

/// Which calls move the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Calls {
    /// read and write
    File,
    /// recvfrom and sendto
    Socket,
    /// readv and writev
    Vector,
    /// recvmsg and sendmsg
    Message,
}

impl Calls {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Socket => "socket",
            Self::Vector => "vector",
            Self::Message => "message",
        }
    }
}

impl FromStr for Calls {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let all = [Self::File, Self::Socket, Self::Vector, Self::Message];
        all.into_iter().find(|calls| calls.name() == name).ok_or(())
    }
}

#[derive(Debug)]
pub struct Channel {
    file: File,
    calls: Calls,
}

impl Channel {
    pub fn new(socket: impl Into<OwnedFd>, calls: Calls) -> Self {
        let file = File::from(socket.into());
        Self { file, calls }
    }

    /// Sends everything, as pieces of one call where the calls have pieces.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            let sent = self.send_some(left)?;
            left = &left[sent..];
        }
        Ok(())
    }

    fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fd = self.file.as_raw_fd();
        let pieces = pieces(bytes);
        let none: &[ControlMessage<'_>] = &[];
        match self.calls {
            Calls::File => self.file.write(bytes),
            Calls::Vector => self.file.write_vectored(&pieces),
            Calls::Socket => Ok(send(fd, bytes, MsgFlags::MSG_NOSIGNAL)?),
            Calls::Message => {
                let flags = MsgFlags::MSG_NOSIGNAL;
                Ok(sendmsg::<SockaddrStorage>(fd, &pieces, none, flags, None)?)
            }
        }
    }
}

/// Three unequal pieces, one of them empty for short texts.
fn pieces(bytes: &[u8]) -> [IoSlice<'_>; 3] {
    let (first, rest) = bytes.split_at(bytes.len() / 5);
    let (second, third) = rest.split_at(rest.len() / 3);
    [first, second, third].map(IoSlice::new)
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.file.as_raw_fd();
        let small = (buffer.len() / 3).min(100);
        match self.calls {
            Calls::File => self.file.read(buffer),
            Calls::Socket => Ok(recv(fd, buffer, MsgFlags::empty())?),
            Calls::Vector => {
                let (first, second) = buffer.split_at_mut(small);
                self.file
                    .read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])
            }
            Calls::Message => {
                let (first, second) = buffer.split_at_mut(small);
                let mut parts = [IoSliceMut::new(first), IoSliceMut::new(second)];
                let message = recvmsg::<SockaddrStorage>(fd, &mut parts, None, MsgFlags::empty())?;
                Ok(message.bytes)
            }
        }
    }
}
