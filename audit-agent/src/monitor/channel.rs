//! The socket pair between the monitor and the worker.
//!
//! In and out: messages, whole (SOCK_SEQPACKET): questions one way, facts, the ring buffer's descriptor and the wish to stop
//! the other way. Never: a message longer than [`MESSAGE_MAX`], a fact longer than `FACT_MAX`.

use crate::event::HostFact;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, send,
    sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Bytes of one message, below the smallest send buffer that systems have by default.
pub const MESSAGE_MAX: usize = 32 * 1024;
/// Bytes of one fact as JSON; a capture file's frames have the same cap.
const FACT_MAX: usize = 1024 * 1024;
/// A worker that takes nothing for so long is beyond help.
const SEND_LIMIT_S: i64 = 10;

const END: u8 = 0;
/// A fact's bytes: more of it follows, or these are its last.
const PART: u8 = 1;
const LAST: u8 = 2;
/// The monitor was told to end, by the signal in the next byte.
const STOP: u8 = 3;
/// The ring buffer comes along.
const RING: u8 = 4;

/// One end.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What came from the monitor.
#[derive(Debug)]
pub enum Message {
    Fact(Box<HostFact>),
    Ring(OwnedFd),
    /// The answer is complete.
    End,
    Stop(u8),
    /// The other process has ended.
    Closed,
}

/// The monitor's end, the worker's end.
pub fn pair() -> io::Result<(Channel, Channel)> {
    let (monitor, worker) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    setsockopt(&monitor, sockopt::SendTimeout, &TimeVal::new(SEND_LIMIT_S, 0))?;
    Ok((Channel(monitor), Channel(worker)))
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Channel {
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match send(self.0.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next message; empty when the other end is closed.
    pub fn receive<'a>(&self, buffer: &'a mut [u8; MESSAGE_MAX]) -> io::Result<&'a [u8]> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(len) => return Ok(buffer.get(..len).unwrap_or_default()),
                Err(Errno::EINTR) => {}
                Err(Errno::ECONNRESET) => return Ok(&[]),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a fact in as many messages as it takes.
    pub fn send_fact(&self, fact: &HostFact) -> io::Result<()> {
        let json = serde_json::to_vec(fact)?;
        if json.len() > FACT_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a fact is too long"));
        }
        let mut parts = json.chunks(MESSAGE_MAX - 1).peekable();
        while let Some(part) = parts.next() {
            let tag = if parts.peek().is_some() { PART } else { LAST };
            self.send(&[&[tag], part].concat())?;
        }
        Ok(())
    }

    pub fn send_end(&self) -> io::Result<()> {
        self.send(&[END])
    }

    pub fn send_stop(&self, signal: u8) -> io::Result<()> {
        self.send(&[STOP, signal])
    }

    pub fn send_ring(&self, ring: BorrowedFd<'_>) -> io::Result<()> {
        let descriptors = [ring.as_raw_fd()];
        let control = [ControlMessage::ScmRights(&descriptors)];
        let bytes = [IoSlice::new(&[RING])];
        sendmsg::<()>(self.0.as_raw_fd(), &bytes, &control, MsgFlags::MSG_NOSIGNAL, None)?;
        Ok(())
    }

    /// The next message from the monitor.
    pub fn message(&self) -> io::Result<Message> {
        let mut fact = Vec::new();
        loop {
            let (bytes, ring) = self.receive_with_descriptor()?;
            match (bytes.split_first(), ring) {
                (None, _) => return Ok(Message::Closed),
                (Some((&PART, part)), _) if fact.len() <= FACT_MAX => fact.extend_from_slice(part),
                (Some((&LAST, part)), _) => {
                    fact.extend_from_slice(part);
                    return Ok(Message::Fact(serde_json::from_slice(&fact)?));
                }
                (Some((&END, _)), _) => return Ok(Message::End),
                (Some((&STOP, &[signal])), _) => return Ok(Message::Stop(signal)),
                (Some((&RING, _)), Some(ring)) => return Ok(Message::Ring(ring)),
                _ => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    fn receive_with_descriptor(&self) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
        let mut buffer = [0; MESSAGE_MAX];
        let mut control = nix::cmsg_space!([RawFd; 1]);
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut control), flags) {
                Ok(message) => message,
                Err(Errno::EINTR) => continue,
                Err(Errno::ECONNRESET) => return Ok((Vec::new(), None)),
                Err(error) => return Err(error.into()),
            };
            let mut ring = None;
            for control in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(descriptors) = control {
                    // SAFETY: the kernel has just made these descriptors for this process, and nothing else knows them.
                    let mut owned = descriptors.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) });
                    ring = owned.next();
                    owned.for_each(drop);
                }
            }
            let len = message.bytes;
            return Ok((buffer.get(..len).unwrap_or_default().to_vec(), ring));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ProcessFact;

    #[test]
    fn a_fact_of_any_length_arrives_whole() {
        let (monitor, worker) = pair().unwrap();
        for len in [0, 100, MESSAGE_MAX - 1, MESSAGE_MAX, 5 * MESSAGE_MAX] {
            let fact = HostFact::Process(Box::new(ProcessFact {
                comm: "x".repeat(len),
                ..ProcessFact::default()
            }));
            monitor.send_fact(&fact).unwrap();
            assert!(matches!(worker.message().unwrap(), Message::Fact(heard) if *heard == fact));
        }
    }

    #[test]
    fn a_fact_that_is_too_long_is_an_error_and_no_part_of_it_is_sent() {
        let (monitor, worker) = pair().unwrap();
        let fact = HostFact::Process(Box::new(ProcessFact {
            comm: "x".repeat(FACT_MAX),
            ..ProcessFact::default()
        }));
        assert!(monitor.send_fact(&fact).is_err());
        monitor.send_end().unwrap();
        assert!(matches!(worker.message().unwrap(), Message::End));
    }

    #[test]
    fn a_descriptor_a_wish_to_stop_and_the_end_arrive() {
        let (monitor, worker) = pair().unwrap();
        monitor.send_ring(monitor.as_fd()).unwrap();
        monitor.send_stop(15).unwrap();
        drop(monitor);
        assert!(matches!(worker.message().unwrap(), Message::Ring(_)));
        assert!(matches!(worker.message().unwrap(), Message::Stop(15)));
        assert!(matches!(worker.message().unwrap(), Message::Closed));
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let (monitor, worker) = pair().unwrap();
        for bytes in [&[9][..], &[STOP], &[RING], &[LAST, b'{']] {
            monitor.send(bytes).unwrap();
            assert!(worker.message().is_err(), "{bytes:?}");
        }
    }
}
