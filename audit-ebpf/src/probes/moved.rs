//! A call that moved bytes of a stream socket, however it was seen.
//!
//! In: a socket, a direction, a number of bytes. Out: the connection's state when its bytes are wanted. Never: a byte that
//! is not counted, unless its connection is ignored.

use super::sequence;
use super::socket::{connection, verdict};
use super::stream::Call;
use super::tls::socket_used;
use crate::kernel::{AF_UNIX, Socket};
use crate::maps::PROCESSES;
use audit_common::abi::{ConnKey, EventKind, FLAG_TX};
use audit_common::config::{CONN_UPSTREAM, ConnState, Verdict};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;

/// The byte of urgent data, which is beside the stream.
const MSG_OOB: u64 = 1;
/// The bytes stay in the socket: they will be received again.
const MSG_PEEK: u64 = 2;
/// The bytes are discarded, not copied.
const MSG_TRUNC: u64 = 0x20;
/// Not the stream, but what became of earlier sends.
const MSG_ERRQUEUE: u64 = 0x2000;
/// What such a call receives is not the stream's next bytes.
pub const MSG_NOT_STREAM: u64 = MSG_OOB | MSG_PEEK | MSG_ERRQUEUE;

/// `PROCESS_*` flags of the current process, 0 when it is not watched.
#[inline(always)]
pub fn process() -> u32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a copy of one word is read.
    unsafe { PROCESSES.get(pid) }.copied().unwrap_or(0)
}

/// Whether a receiving call throws the bytes away unseen: TCP does, unix streams do not know the flag.
#[inline(always)]
pub fn discards(socket: &Socket, sent: bool, flags: u64) -> bool {
    !sent && flags & MSG_TRUNC != 0 && socket.family != AF_UNIX
}

/// What a call did with a socket.
pub struct Moved {
    key: ConnKey,
    /// TCP numbers its bytes.
    numbered: bool,
    verdict: u32,
    state: &'static mut ConnState,
}

/// The part of a stream that is a call's.
pub struct Claimed {
    /// Of the call's first byte.
    pub offset: u64,
    /// Bytes before it that moved and were not seen.
    pub unseen: u64,
}

/// The connection of `socket`; None when its bytes are not wanted. `tls`: the process has a TLS library that is probed.
#[inline(always)]
pub fn watched(socket: &Socket, sent: bool, bytes: u64, tls: bool) -> Option<Moved> {
    let state = connection(socket, bytes)?;
    let key = ConnKey {
        sock: socket.sock,
        generation: state.generation,
    };
    if tls && bytes != 0 {
        socket_used(key, sent);
    }
    let verdict = verdict(socket.sock, state);
    if verdict == Verdict::Ignore as u32 {
        return None;
    }
    let mut moved = Moved {
        key,
        numbered: socket.family != AF_UNIX,
        verdict,
        state,
    };
    if verdict == Verdict::Counted as u32 {
        moved.claim(sent, bytes);
        return None;
    }
    Some(moved)
}

impl Moved {
    /// Takes `bytes` of the stream for this call.
    #[inline(always)]
    pub fn claim(&mut self, sent: bool, bytes: u64) -> Claimed {
        let (counter, last) = if sent {
            (&mut self.state.tx_bytes, &mut self.state.tx_sequence)
        } else {
            (&mut self.state.rx_bytes, &mut self.state.rx_sequence)
        };
        let unseen = if self.numbered {
            sequence::advance(self.key.sock, sent, bytes, last)
        } else {
            0
        };
        let offset = *counter + unseen;
        *counter = offset + bytes;
        Claimed { offset, unseen }
    }

    #[inline(always)]
    pub fn call(&self, sent: bool) -> Call {
        Call {
            kind: EventKind::Data,
            key: self.key,
            flags: if sent { FLAG_TX } else { 0 },
            // Requests that the process itself sends stay whole: only they tell what the connection is for.
            head_only: self.verdict == Verdict::HeadOnly as u32
                && !(sent && self.state.flags & CONN_UPSTREAM != 0),
        }
    }
}
