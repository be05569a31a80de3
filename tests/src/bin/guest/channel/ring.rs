//! io_uring: the calls are entries of a ring, done by whichever thread the kernel chooses.

use super::Moves;
use super::many::header;
use super::plain::Socket;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// `RECV` and `SEND`
    Socket,
    /// `READV` and `WRITEV`
    Vectors,
    /// `RECVMSG` and `SENDMSG`
    Messages,
    /// `RECV` into a buffer of those that were given to the kernel before
    Buffers,
}

/// Buffers that the kernel chooses from: how many, of how many bytes.
const GIVEN: u16 = 8;
const GIVEN_BYTES: usize = 4096;
const GROUP: u16 = 1;

pub struct Ring {
    ring: IoUring,
    kind: Kind,
    given: Box<[u8]>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// send, and every other time an entry of a ring: what the one path sees in whole has holes on another.
#[derive(Debug)]
pub struct Alternating {
    ring: Ring,
    through_ring: bool,
}

impl Alternating {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(Kind::Socket)?,
            through_ring: false,
        })
    }
}

impl Moves for Alternating {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        Socket.receive(socket, buffer)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        self.through_ring = !self.through_ring;
        if self.through_ring {
            return Socket.send(socket, bytes);
        }
        self.ring.send(socket, bytes)
    }
}

impl Ring {
    pub fn new(kind: Kind) -> io::Result<Self> {
        let given = vec![0; usize::from(GIVEN) * GIVEN_BYTES].into();
        let mut ring = Self {
            ring: IoUring::new(8)?,
            kind,
            given,
        };
        if kind == Kind::Buffers {
            ring.give(0, GIVEN)?;
        }
        Ok(ring)
    }

    /// Gives `count` buffers from number `first` on to the kernel.
    fn give(&mut self, first: u16, count: u16) -> io::Result<()> {
        let start = self.given[usize::from(first) * GIVEN_BYTES..].as_mut_ptr();
        let entry = opcode::ProvideBuffers::new(start, GIVEN_BYTES as i32, count, GROUP, first).build();
        self.run(&entry).map(drop)
    }

    /// Has one entry done; gives its result and its flags.
    fn run(&mut self, entry: &Entry) -> io::Result<(usize, u32)> {
        // SAFETY: what the entry points to lives until its completion is taken below.
        unsafe { self.ring.submission().push(entry) }.map_err(io::Error::other)?;
        while let Err(error) = self.ring.submit_and_wait(1) {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        let done = self.ring.completion().next();
        let done = done.ok_or_else(|| io::Error::other("the ring has no completion"))?;
        let moved = usize::try_from(done.result());
        let moved = moved.map_err(|_| io::Error::from_raw_os_error(-done.result()))?;
        Ok((moved, done.flags()))
    }

    fn receive_given(&mut self, socket: Fd, buffer: &mut [u8]) -> io::Result<usize> {
        let len = GIVEN_BYTES.min(buffer.len()) as u32;
        let entry = opcode::Recv::new(socket, std::ptr::null_mut(), len)
            .buf_group(GROUP)
            .build();
        let (moved, flags) = self.run(&entry.flags(Flags::BUFFER_SELECT))?;
        if let Some(number) = io_uring::cqueue::buffer_select(flags) {
            let start = usize::from(number) * GIVEN_BYTES;
            buffer[..moved].copy_from_slice(&self.given[start..start + moved]);
            self.give(number, 1)?;
        }
        Ok(moved)
    }
}

/// Two pieces.
fn pieces(start: *const u8, len: usize) -> [libc::iovec; 2] {
    let first = len / 3;
    // SAFETY: a third of the length is within it.
    let second = unsafe { start.add(first) };
    [(start, first), (second, len - first)].map(|(base, len)| libc::iovec {
        iov_base: base.cast_mut().cast(),
        iov_len: len,
    })
}

impl Moves for Ring {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = Fd(socket.as_raw_fd());
        let mut pieces = pieces(buffer.as_ptr(), buffer.len());
        let mut header = header(&mut pieces);
        let entry = match self.kind {
            Kind::Socket => opcode::Recv::new(fd, buffer.as_mut_ptr(), buffer.len() as u32).build(),
            Kind::Vectors => opcode::Readv::new(fd, pieces.as_ptr(), 2).build(),
            Kind::Messages => opcode::RecvMsg::new(fd, &raw mut header).build(),
            Kind::Buffers => return self.receive_given(fd, buffer),
        };
        self.run(&entry).map(|(moved, _)| moved)
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        let fd = Fd(socket.as_raw_fd());
        let mut pieces = pieces(bytes.as_ptr(), bytes.len());
        let header = header(&mut pieces);
        let entry = match self.kind {
            Kind::Socket | Kind::Buffers => opcode::Send::new(fd, bytes.as_ptr(), bytes.len() as u32).build(),
            Kind::Vectors => opcode::Writev::new(fd, pieces.as_ptr(), 2).build(),
            Kind::Messages => opcode::SendMsg::new(fd, &raw const header).build(),
        };
        self.run(&entry).map(|(moved, _)| moved)
    }
}
