//! Many buffers, and many messages, in one call.

use super::Moves;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// Cuts into `count` unequal pieces, every fifth of them empty; what is left is in the last.
fn cut(mut start: *mut u8, mut len: usize, count: usize) -> Vec<libc::iovec> {
    let usual = len / count;
    let mut pieces = Vec::with_capacity(count);
    for index in 0..count {
        let piece = match index {
            _ if index + 1 == count => len,
            _ if index % 5 == 3 => 0,
            _ => (usual + index % 3).min(len),
        };
        pieces.push(libc::iovec {
            iov_base: start.cast(),
            iov_len: piece,
        });
        // SAFETY: pieces add up to `len`, so the pointer stays within the buffer or at its end.
        start = unsafe { start.add(piece) };
        len -= piece;
    }
    pieces
}

fn moved(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// readv and writev with so many buffers.
#[derive(Debug)]
pub struct Vectors(pub usize);

impl Moves for Vectors {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let pieces = cut(buffer.as_mut_ptr(), buffer.len(), self.0);
        // SAFETY: the pieces lie in `buffer`, which lives and is writable.
        moved(unsafe { libc::readv(socket.as_raw_fd(), pieces.as_ptr(), pieces.len() as i32) })
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let pieces = cut(bytes.as_ptr().cast_mut(), bytes.len(), self.0);
        // SAFETY: the pieces lie in `bytes`, which lives; they are only read.
        moved(unsafe { libc::writev(socket.as_raw_fd(), pieces.as_ptr(), pieces.len() as i32) })
    }
}

/// A header for the pieces, which have to outlive it.
pub fn header(pieces: &mut [libc::iovec]) -> libc::msghdr {
    // SAFETY: all zero is a header without name, buffers and control.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = pieces.as_mut_ptr();
    header.msg_iovlen = pieces.len() as _;
    header
}

/// recvmsg and sendmsg with so many buffers.
#[derive(Debug)]
pub struct Message(pub usize);

impl Moves for Message {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let mut pieces = cut(buffer.as_mut_ptr(), buffer.len(), self.0);
        let mut header = header(&mut pieces);
        // SAFETY: the header's pieces lie in `buffer`, which lives and is writable.
        moved(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) })
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut pieces = cut(bytes.as_ptr().cast_mut(), bytes.len(), self.0);
        let header = header(&mut pieces);
        // SAFETY: the header's pieces lie in `bytes`, which lives; they are only read.
        moved(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) })
    }
}

/// recvmmsg and sendmmsg with so many messages.
#[derive(Debug)]
pub struct Messages(pub usize);

/// The kernel's `struct mmsghdr`s for pieces, which have to outlive them.
fn headers(pieces: &mut [libc::iovec]) -> Vec<libc::mmsghdr> {
    let one = |piece| libc::mmsghdr {
        msg_hdr: header(std::slice::from_mut(piece)),
        msg_len: 0,
    };
    pieces.iter_mut().map(one).collect()
}

/// Bytes of the first `result` messages.
fn sum(headers: &[libc::mmsghdr], result: i32) -> io::Result<usize> {
    let count = moved(result as isize)?;
    Ok(headers[..count]
        .iter()
        .map(|header| header.msg_len as usize)
        .sum())
}

fn receive(socket: RawFd, headers: &mut [libc::mmsghdr]) -> i32 {
    let (vector, count) = (headers.as_mut_ptr(), headers.len() as u32);
    // SAFETY: the headers' pieces lie in a buffer that lives and is writable; no timeout is given.
    unsafe { libc::recvmmsg(socket, vector, count, libc::MSG_WAITFORONE as _, ptr::null_mut()) }
}

impl Moves for Messages {
    /// Messages of a stream are filled one after the other: small ones, so that there are several.
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let len = buffer.len().min(self.0 * 100);
        // Each but the last has to be full, or a hole would be in the buffer: the call stops at the first that is not.
        let mut pieces = cut(buffer.as_mut_ptr(), len, self.0);
        pieces.retain(|piece| piece.iov_len > 0);
        let mut headers = headers(&mut pieces);
        let result = receive(socket.as_raw_fd(), &mut headers);
        let total = sum(&headers, result)?;
        let full = |(header, piece): (&libc::mmsghdr, &libc::iovec)| header.msg_len as usize == piece.iov_len;
        let count = result as usize;
        let holes = headers.iter().zip(&pieces).take(count.saturating_sub(1));
        if !holes.into_iter().all(full) {
            return Err(io::Error::other("a message in the middle was not full"));
        }
        Ok(total)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let mut pieces = cut(bytes.as_ptr().cast_mut(), bytes.len(), self.0);
        let mut headers = headers(&mut pieces);
        let (vector, count) = (headers.as_mut_ptr(), headers.len() as u32);
        // SAFETY: the headers' pieces lie in `bytes`, which lives; they are only read.
        let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), vector, count, libc::MSG_NOSIGNAL as _) };
        let total = sum(&headers, result)?;
        // A message that was sent in part only: what follows it must not have been sent.
        Ok(total)
    }
}
