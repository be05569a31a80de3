//! Who holds a connection after it was accepted.
//!
//! In: accepted sockets. Out: each of them served. Never: an end but that of the process.

use super::channel::Channel;
use super::place::{Listener, owned};
use super::server::{serve, serve_apart};
use anyhow::{Context, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage,
    recvmsg, sendmsg, socketpair,
};
use nix::unistd::{ForkResult, dup, dup2_raw, fork};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Who serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Holder {
    /// A thread for each connection.
    Thread,
    /// One thread for all, one after the other: descriptors are used again at once.
    Loop,
    /// The socket by other descriptors than the accepted one.
    Duplicates,
    /// A child for each connection.
    Child,
    /// A process that never listened and is no child of one that did: the socket is sent to it.
    Stranger,
    /// One thread receives, another sends.
    TwoThreads,
    /// As [`Self::Thread`], in two processes on one port.
    TwoProcesses,
    /// As [`Self::Thread`], in a process whose first thread is over.
    Headless,
}

impl Holder {
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    pub fn by_name(name: &str) -> Option<Self> {
        let all = [
            Self::Thread,
            Self::Loop,
            Self::Duplicates,
            Self::Child,
            Self::Stranger,
            Self::TwoThreads,
            Self::TwoProcesses,
            Self::Headless,
        ];
        all.into_iter().find(|holder| holder.name() == name)
    }

    /// Serves everybody who connects at `place`, once `listening` was called.
    pub fn run(self, calls: &str, place: &str, listening: impl FnOnce() + Send + 'static) -> Result<()> {
        if self == Self::Headless {
            return headless(calls.to_owned(), place.to_owned(), listening);
        }
        let stranger = if self == Self::Stranger {
            Some(stranger(calls)?)
        } else {
            None
        };
        let listener = Listener::at(place)?;
        listening();
        loop {
            let socket = listener.accept()?;
            match (self, &stranger) {
                (Self::Loop, _) => serve(Channel::new(socket, calls)?),
                (Self::Duplicates, _) => serve(Channel::new(duplicate(socket)?, calls)?),
                (Self::Child, _) => in_child(socket, calls)?,
                (_, Some(stranger)) => hand_over(stranger, &socket)?,
                (Self::TwoThreads, _) => {
                    let calls = calls.to_owned();
                    std::thread::spawn(move || serve_apart(&socket, &calls));
                }
                _ => {
                    let channel = Channel::new(socket, calls)?;
                    std::thread::spawn(move || serve(channel));
                }
            }
        }
    }
}

/// Goes on in a second thread, and ends the first one.
fn headless(calls: String, place: String, listening: impl FnOnce() + Send + 'static) -> Result<()> {
    let first = std::process::id();
    std::thread::spawn(move || -> Result<()> {
        let is_over = || {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{first}/stat"))?;
            Ok(stat.contains(") Z ").then_some(()))
        };
        audit_tests::wait::until("the end of the first thread", Duration::from_secs(20), is_over)?;
        Holder::Thread.run(&calls, &place, listening)
    });
    // SAFETY: ends this thread alone; nothing of it is used by the other.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    Ok(())
}

/// Another descriptor of the same socket, far from the accepted one, which is closed.
fn duplicate(socket: OwnedFd) -> Result<OwnedFd> {
    const FAR: i32 = 700;
    let second = dup(&socket)?;
    drop(socket);
    // SAFETY: nothing else of this program has a descriptor of that number.
    Ok(unsafe { dup2_raw(&second, FAR) }?)
}

fn in_child(socket: OwnedFd, calls: &str) -> Result<()> {
    // SAFETY: this process has one thread, so the child finds everything in order.
    if let ForkResult::Child = unsafe { fork() }? {
        set_pdeathsig(Signal::SIGKILL)?;
        if let Ok(channel) = Channel::new(socket, calls) {
            serve(channel);
        }
        std::process::exit(0);
    }
    Ok(())
}

/// A process, made before this one listens, that serves the sockets it is sent.
fn stranger(calls: &str) -> Result<OwnedFd> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::empty())?;
    // SAFETY: this process has one thread, so the child finds everything in order.
    if let ForkResult::Parent { .. } = unsafe { fork() }? {
        return Ok(ours);
    }
    drop(ours);
    // A datagram socket has no end, and what its parent asked the kernel for is not the child's.
    set_pdeathsig(Signal::SIGKILL)?;
    while let Ok(socket) = take_over(&theirs) {
        if let Ok(channel) = Channel::new(socket, calls) {
            serve(channel);
        }
    }
    std::process::exit(0)
}

fn hand_over(to: &OwnedFd, socket: &OwnedFd) -> Result<()> {
    let fds = [socket.as_raw_fd()];
    let control = [ControlMessage::ScmRights(&fds)];
    let text = [IoSlice::new(b"a socket")];
    sendmsg::<SockaddrStorage>(to.as_raw_fd(), &text, &control, MsgFlags::empty(), None)?;
    Ok(())
}

fn take_over(from: &OwnedFd) -> Result<OwnedFd> {
    let mut text = [0; 16];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut control = nix::cmsg_space!([i32; 1]);
    let message = recvmsg::<SockaddrStorage>(
        from.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )?;
    let mut found = None;
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = part {
            found = fds.first().copied();
        }
    }
    Ok(owned(found.context("a message without a socket")?))
}
