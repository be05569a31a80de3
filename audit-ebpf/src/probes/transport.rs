//! Bytes that watched processes receive and send, seen at the functions of TCP and of unix streams.
//!
//! In: entry and return of the kernel's functions, from [`super::fentry`] or [`super::kprobes`]. Out: the same data events
//! as the system call path. Whoever calls them is seen: system calls, io_uring, sendfile. Other system calls cost nothing.
//! What the call will work on is noted at its begin, since the kernel moves the `iov_iter` along.

use super::memory::{Memory, Place};
use super::moved::{MSG_NOT_STREAM, discards, process, watched};
use super::place;
use crate::emit::lost;
use crate::kernel::{knows_pages, read, socket, socket_of_sock};
use crate::maps::{CALLS, CONNECTIONS, offsets};
use audit_common::abi::Shortfall;
use audit_common::config::{CONN_CLOSED, PROCESS_TLS};
use audit_common::loss::LossReason;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::maps::ProgramArray;

/// A call of a transport function that is under way.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TransportCall {
    /// `struct sock *`, or `struct socket *` for a unix stream; 0 when no call is under way.
    socket: u64,
    /// `struct msghdr *`, or `struct page *`.
    what: u64,
    kind: u64,
    flags: u64,
    /// Bytes that the caller asked for.
    wanted: u64,
    /// The iterator at the call's begin.
    vector: u64,
    segments: u64,
    offset: u64,
    place: u64,
}

/// What a transport function works on.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Work {
    /// A `struct msghdr`.
    Message,
    /// A page (before Linux 6.5).
    Page,
    /// A pipe: the bytes are not looked at.
    Pipe,
}

/// Kinds of [`TransportCall`].
const OPAQUE: u64 = 0;
const UBUF: u64 = 1;
const IOVEC: u64 = 2;
const KVEC: u64 = 3;
const BVEC: u64 = 4;
const PAGE: u64 = 5;
/// Not a transport call: a file is being mapped to be executed.
const MAPPING: u64 = 6;
pub const PROT_EXEC: u64 = 4;

#[inline(always)]
fn tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// Whether a watched listener's connection is used by a process that is not watched: the socket was sent to it
/// (`SCM_RIGHTS`). Unix streams are given by another address and are never found.
#[inline(always)]
fn handed_over(sock: u64) -> bool {
    // SAFETY: one word is read.
    unsafe { CONNECTIONS.get(sock) }.is_some_and(|state| state.flags & CONN_CLOSED == 0)
}

#[inline(always)]
pub fn enter(work: Work, socket: u64, what: u64, offset: u64, wanted: u64, flags: u64) {
    if process() == 0 && !handed_over(socket) {
        return;
    }
    let kind = if matches!(work, Work::Page) { PAGE } else { OPAQUE };
    let call = TransportCall {
        socket,
        what,
        kind,
        flags,
        wanted,
        offset,
        ..TransportCall::NONE
    };
    if CALLS.insert(tid(), call, 0).is_err() {
        lost(LossReason::ScratchBusy, 0);
        return;
    }
    if !matches!(work, Work::Message) {
        return;
    }
    // Read back: what came from the context is a typed pointer to the verifier, and a number when it comes from a map.
    if let Some(call) = CALLS.get_ptr_mut(tid()) {
        // SAFETY: map values stay readable while the program runs, and only this thread uses its own.
        unsafe { &mut *call }.read_iterator();
    }
}

impl TransportCall {
    const NONE: Self = Self {
        socket: 0,
        what: 0,
        kind: OPAQUE,
        flags: 0,
        wanted: 0,
        vector: 0,
        segments: 0,
        offset: 0,
        place: 0,
    };

    /// Notes what `msg->msg_iter` points to.
    #[inline(always)]
    fn read_iterator(&mut self) {
        let at = offsets();
        let iterator = self.what + u64::from(at.msghdr_iter);
        let kind = if at.iter_type_len == 1 {
            u32::from(read::<u8>(iterator, at.iter_type))
        } else {
            read::<u32>(iterator, at.iter_type) & !1
        };
        self.offset = read(iterator, at.iter_offset);
        self.segments = read(iterator, at.iter_segments);
        self.vector = read(iterator, at.iter_vector);
        self.kind = match kind {
            k if k == at.iter_kind_ubuf => {
                self.vector = read(iterator, at.iter_ubuf);
                UBUF
            }
            k if k == at.iter_kind_iovec => IOVEC,
            k if k == at.iter_kind_kvec => KVEC,
            k if k == at.iter_kind_bvec => BVEC,
            _ => OPAQUE,
        };
    }

    /// The memory that `bytes` bytes came from or went to.
    #[inline(always)]
    fn memory(&self, bytes: u64) -> Option<Memory> {
        let list = |place| Some(Memory::list(self.vector, self.segments, self.offset, place));
        if !knows_pages() && (self.kind == BVEC || self.kind == PAGE) {
            return None;
        }
        match self.kind {
            UBUF => Some(Memory::buffer(self.vector + self.offset, bytes)),
            IOVEC => list(Place::KernelList),
            KVEC => list(Place::Kernel),
            BVEC => list(Place::Pages),
            PAGE => Some(Memory::page(self.what, self.offset, bytes)),
            _ => None,
        }
    }
}

/// A call returned `result`. `unix`: its first argument was a `struct socket`.
#[inline(always)]
pub fn leave<C: EbpfContext>(ctx: &C, steps: Option<&ProgramArray>, result: i64, sent: bool, unix: bool) {
    let Some(call) = CALLS.get_ptr_mut(tid()) else {
        return;
    };
    // SAFETY: as in `enter`.
    let call = unsafe { &mut *call };
    let of = call.socket;
    call.socket = 0;
    if of == 0 || result < 0 || !sent && call.flags & MSG_NOT_STREAM != 0 {
        return;
    }
    let bytes = result as u64;
    let socket = if unix { socket(of) } else { socket_of_sock(of) };
    let Some(mut moved) = watched(&socket, sent, bytes, process() & PROCESS_TLS != 0) else {
        return;
    };
    if bytes == 0 && (sent || call.wanted == 0) {
        return;
    }
    let claimed = moved.claim(sent, bytes);
    let offset = claimed.offset;
    let Some((place, scratch)) = place::claim() else {
        // The next event's offset shows the hole.
        lost(LossReason::ScratchBusy, bytes);
        return;
    };
    call.place = u64::from(place);
    let order = moved.call(sent);
    order.unseen_before(scratch, &claimed);
    if bytes == 0 {
        order.end_of_stream(scratch, offset);
    } else if discards(&socket, sent, call.flags) {
        order.missing(scratch, offset, bytes, Shortfall::Discarded);
    } else if let (Some(memory), Some(steps)) = (call.memory(bytes), steps) {
        order.prepare(scratch, offset, memory, bytes);
        // SAFETY: the map holds programs of this type only. It comes back only when it fails.
        let _ = unsafe { steps.tail_call(ctx, 0) };
        order.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
    } else {
        order.missing(scratch, offset, bytes, Shortfall::NotInUserMemory);
    }
    place::release(place);
}

/// Goes on copying behind [`leave`].
#[inline(always)]
pub fn walk<C: EbpfContext>(ctx: &C, steps: &ProgramArray) {
    let Some(call) = CALLS.get_ptr_mut(tid()) else {
        return;
    };
    // SAFETY: as in `enter`.
    let place = unsafe { (*call).place } as u32;
    let Some(scratch) = place::at(place) else { return };
    if !scratch.walk() {
        // SAFETY: the map holds programs of this type only. It comes back only when the chain is at its end.
        let _ = unsafe { steps.tail_call(ctx, 0) };
    }
    scratch.finish();
    place::release(place);
}

/// Notes that this thread maps `file`, for a probe that sees no arguments at the function's end.
#[inline(always)]
pub fn begin_mapping(file: u64, protection: u64) {
    if file == 0 || protection & PROT_EXEC == 0 || process() == 0 {
        return;
    }
    let call = TransportCall {
        kind: MAPPING,
        ..TransportCall::NONE
    };
    if CALLS.insert(tid(), call, 0).is_err() {
        lost(LossReason::ScratchBusy, 0);
    }
}

/// Whether what ends now was begun with [`begin_mapping`].
#[inline(always)]
pub fn mapping_ended() -> bool {
    let Some(call) = CALLS.get_ptr_mut(tid()) else {
        return false;
    };
    // SAFETY: as in `enter`.
    let call = unsafe { &mut *call };
    let mapping = call.kind == MAPPING;
    call.kind = OPAQUE;
    mapping
}
