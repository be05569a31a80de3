//! Flags and modes that change what a call moves.

use super::Moves;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrStorage, recv, recvmsg, send, sendmsg, setsockopt, sockopt,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What is there now, which stays there.
fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_PEEK)?)
}

fn send_all(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
}

/// `MSG_PEEK` by recv, recvmsg and recvmmsg before each receive.
#[derive(Debug)]
pub struct Peek;

impl Moves for Peek {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        peek(socket, buffer)?;
        let fd = socket.as_raw_fd();
        recvmsg::<SockaddrStorage>(fd, &mut [IoSliceMut::new(buffer)], None, MsgFlags::MSG_PEEK)?;
        let mut piece = [libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        }];
        let mut message = libc::mmsghdr {
            msg_hdr: super::many::header(&mut piece),
            msg_len: 0,
        };
        // SAFETY: the one piece is `buffer`, which lives and is writable; no timeout is given.
        unsafe { libc::recvmmsg(fd, &raw mut message, 1, libc::MSG_PEEK as _, std::ptr::null_mut()) };
        Ok(recv(fd, buffer, MsgFlags::empty())?)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        send_all(socket, bytes)
    }
}

/// Looks at the bytes in the socket and has TCP throw them away (`MSG_TRUNC`).
#[derive(Debug)]
pub struct Discard;

impl Moves for Discard {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let count = peek(socket, buffer)?;
        let mut scratch = vec![0; count];
        let mut left = count;
        while left > 0 {
            left -= recv(socket.as_raw_fd(), &mut scratch[..left], MsgFlags::MSG_TRUNC)?;
        }
        Ok(count)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        send_all(socket, bytes)
    }
}

/// `MSG_WAITALL` for more than is there, as far as the request goes on.
#[derive(Debug)]
pub struct WaitAll;

/// A request has at least so many bytes.
const SURELY: usize = 300;

impl Moves for WaitAll {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let there = peek(socket, buffer)?;
        let wanted = if buffer.starts_with(b"POST") && there > 0 {
            there.max(SURELY)
        } else {
            there
        };
        Ok(recv(
            socket.as_raw_fd(),
            &mut buffer[..wanted],
            MsgFlags::MSG_WAITALL,
        )?)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        send_all(socket, bytes)
    }
}

fn wait(socket: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    poll(&mut [PollFd::new(socket, events)], PollTimeout::NONE)?;
    Ok(())
}

/// `MSG_DONTWAIT`: every call may fail with EAGAIN first, or move a part.
#[derive(Debug)]
pub struct DontWait;

impl Moves for DontWait {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT) {
                Err(nix::errno::Errno::EAGAIN) => wait(socket, PollFlags::POLLIN)?,
                result => return Ok(result?),
            }
        }
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match send(socket.as_raw_fd(), bytes, flags) {
                Err(nix::errno::Errno::EAGAIN) => wait(socket, PollFlags::POLLOUT)?,
                result => return Ok(result?),
            }
        }
    }
}

/// A send buffer that holds little, so that sends wait and, without waiting, move a part.
#[derive(Debug)]
pub struct SmallBuffer;

impl Moves for SmallBuffer {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        setsockopt(&socket, sockopt::SndBuf, &4096)?;
        DontWait.receive(socket, buffer)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let half = bytes.len() / 2;
        if half > 0 {
            return send_all(socket, &bytes[..half]);
        }
        DontWait.send(socket, bytes)
    }
}

/// `MSG_ZEROCOPY`: the kernel takes the pages and tells later, in the error queue, that it has let them go.
#[derive(Debug)]
pub struct ZeroCopy;

impl Moves for ZeroCopy {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let (on, fd) = (1_i32, socket.as_raw_fd());
        // SAFETY: the option's value is the live `on`, of the length that is given.
        let set = unsafe {
            let length = size_of::<i32>() as u32;
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_ZEROCOPY,
                (&raw const on).cast(),
                length,
            )
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        let none: &[ControlMessage<'_>] = &[];
        let flags = MsgFlags::from_bits_retain(libc::MSG_ZEROCOPY) | MsgFlags::MSG_NOSIGNAL;
        let sent = sendmsg::<SockaddrStorage>(fd, &[IoSlice::new(bytes)], none, flags, None)?;
        released(socket)?;
        Ok(sent)
    }
}

/// Waits until the kernel has let go of the pages of a send.
fn released(socket: BorrowedFd<'_>) -> io::Result<()> {
    loop {
        wait(socket, PollFlags::POLLERR)?;
        let mut control = [0_u8; 128];
        // SAFETY: all zero is a header without name, buffers and control.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control.len() as _;
        // SAFETY: the header names `control`, which lives and is writable, and no buffer.
        let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_ERRQUEUE) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
    }
}
