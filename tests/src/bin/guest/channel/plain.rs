//! The calls that most servers use.

use super::Moves;
use nix::sys::socket::{MsgFlags, recv, send};
use nix::unistd::{read, write};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// read and write
#[derive(Debug)]
pub struct File;

impl Moves for File {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(read(socket, buffer)?)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        Ok(write(socket, bytes)?)
    }
}

/// recvfrom and sendto
#[derive(Debug)]
pub struct Socket;

impl Moves for Socket {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }
}
