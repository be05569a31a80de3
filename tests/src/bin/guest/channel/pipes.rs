//! Bytes that go from a file or a pipe into a socket, or out of it into a pipe.

use super::Moves;
use super::plain::Socket;
use nix::unistd::{pipe, read, write};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// A pipe's usual room.
const ROOM: usize = 64 * 1024;

fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn splice(from: &impl AsRawFd, to: &impl AsRawFd, count: usize) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    // SAFETY: no offsets are given, so no memory is touched.
    moved(unsafe { libc::splice(from, ptr::null_mut(), to, ptr::null_mut(), count, 0) })
}

/// sendfile
#[derive(Debug)]
pub struct SendFile;

impl Moves for SendFile {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Socket.receive(socket, buffer)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        // SAFETY: the name is a string that ends in NUL.
        let fd = unsafe { libc::memfd_create(c"answer".as_ptr(), 0) };
        moved(fd as isize)?;
        // SAFETY: the call has just made the descriptor, and nobody else has it.
        let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        file.write_all(bytes)?;
        let mut from = 0;
        let (socket, file) = (socket.as_raw_fd(), file.as_raw_fd());
        // SAFETY: `from` lives and is writable.
        moved(unsafe { libc::sendfile(socket, file, &raw mut from, bytes.len()) })
    }
}

/// A pipe is filled, by write or by vmsplice, and spliced into the socket.
#[derive(Debug)]
pub struct SpliceOut {
    pub mapped: bool,
}

impl Moves for SpliceOut {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Socket.receive(socket, buffer)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let (out, into) = pipe()?;
        let part = &bytes[..bytes.len().min(ROOM / 2)];
        let held = if self.mapped {
            // The pages themselves travel: they must not change until the client has them, of which nobody tells.
            let part: &[u8] = Box::leak(part.to_vec().into_boxed_slice());
            let piece = libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            };
            // SAFETY: the piece is `part`, which lives for ever and is only read.
            moved(unsafe { libc::vmsplice(into.as_raw_fd(), &raw const piece, 1, 0) })?
        } else {
            write(&into, part)?
        };
        let mut left = held;
        while left > 0 {
            left -= splice(&out, &socket, left)?;
        }
        Ok(held)
    }
}

/// The socket is spliced into a pipe, which is read.
#[derive(Debug)]
pub struct SpliceIn;

impl Moves for SpliceIn {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let (out, into) = pipe()?;
        let held = splice(&socket, &into, buffer.len().min(ROOM / 2))?;
        let mut filled = 0;
        while filled < held {
            filled += read(&out, &mut buffer[filled..held])?;
        }
        Ok(held)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        Socket.send(socket, bytes)
    }
}
