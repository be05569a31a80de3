//! Calls that a signal interrupts.

use super::Moves;
use super::plain::Socket;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io;
use std::os::fd::BorrowedFd;

/// Every few milliseconds a signal: a call that waits ends with EINTR, or is begun again by the kernel.
#[derive(Debug)]
pub struct Interrupted;

extern "C" fn nothing(_: i32) {}

impl Interrupted {
    /// `restarts`: the kernel begins such calls again.
    pub fn new(restarts: bool) -> io::Result<Self> {
        let flags = if restarts {
            SaFlags::SA_RESTART
        } else {
            SaFlags::empty()
        };
        let action = SigAction::new(SigHandler::Handler(nothing), flags, SigSet::empty());
        // SAFETY: the handler does nothing, so it can run at any moment.
        unsafe { sigaction(Signal::SIGALRM, &action) }?;
        let every = libc::timeval {
            tv_sec: 0,
            tv_usec: 2000,
        };
        let timer = libc::itimerval {
            it_interval: every,
            it_value: every,
        };
        // SAFETY: the timer lives; nothing is asked back.
        if unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self)
    }
}

/// Again until no signal came between.
fn until_done(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl Moves for Interrupted {
    fn receive(&mut self, socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
        until_done(|| Socket.receive(socket, buffer))
    }

    fn send(&mut self, socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
        until_done(|| Socket.send(socket, bytes))
    }
}
