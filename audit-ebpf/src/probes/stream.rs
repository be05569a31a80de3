//! Copies what one call moved into data events.
//!
//! In: a system call's or a TLS library call's buffers. Out: data events with absolute offsets.
//!
//! The walk over the buffers is a program of its own that calls itself: a loop over all of them would be more
//! than the verifier follows. Its state lies in a map, so that each step looks the same to the verifier.

use super::memory::Memory;
use super::moved::Claimed;
use crate::emit::{Wake, header, lost, send};
use crate::maps::{DATA, STEPS};
use audit_common::abi::{
    CHUNK_MAX, ConnKey, DATA_LEN, DataEvent, EventKind, FLAG_EOF, FLAG_TX, SHORTFALL_SHIFT, Shortfall,
};
use audit_common::config::HEAD_ONLY_LEN;
use audit_common::loss::LossReason;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

/// Steps of one run of the program. A call chain has 33 links (`MAX_TAIL_CALL_CNT`), of which getting here takes three at
/// most, so one call has 30 times as many steps: 8 MiB in one buffer, or the 1024 buffers that one call may have
/// (`UIO_MAXIOV`).
const STEPS_PER_RUN: usize = 35;

/// One call on one connection, or on one TLS session.
pub struct Call {
    /// `Data` or `TlsData`.
    pub kind: EventKind,
    pub key: ConnKey,
    /// `FLAG_*` of its events.
    pub flags: u16,
    /// `Verdict::HeadOnly` is in force.
    pub head_only: bool,
}

/// Where the walk is.
#[repr(C)]
pub struct Cursor {
    memory: Memory,
    key: ConnKey,
    /// Stream offset of the first byte in the scratch.
    offset: u64,
    /// Stream bytes that no event stands for yet, those in the scratch included.
    left: u64,
    /// Bytes still to be copied.
    wanted: u64,
    /// Bytes in the scratch.
    held: u64,
    kind: u64,
    flags: u64,
    /// Why bytes will be missing if they are.
    why: u64,
}

/// Data events are put together here: user memory is gathered piece by piece and then sent at its real length. Twice the
/// half-chunk of slack lets the verifier see that a piece fits behind a full chunk.
#[repr(C)]
pub struct Scratch {
    /// Kept here over a loop, so that the verifier does not go on from each of its values.
    pub sum: u64,
    pub count: u64,
    cursor: Cursor,
    event: DataEvent,
    payload: [u8; CHUNK_MAX + PIECE_MAX],
}

/// Bytes that one copy from user memory takes at most.
const PIECE_MAX: usize = CHUNK_MAX / 2;

/// Takes `len` bytes of the stream for a call and gives the offset of the first.
#[inline(always)]
pub fn claim(counter: &mut u64, len: u64) -> u64 {
    // A plain addition: Linux 5.10 has no fetching atomics. Threads that use one direction of a socket at the same
    // time are in an order of their own only if the program locks, and then so is this.
    let offset = *counter;
    *counter += len;
    offset
}

impl Call {
    fn sent(&self) -> bool {
        self.flags & FLAG_TX != 0
    }

    #[inline(always)]
    pub fn end_of_stream(&self, scratch: &mut Scratch, offset: u64) {
        event(
            scratch,
            self.kind as u64,
            self.key,
            offset,
            0,
            0,
            self.flags | FLAG_EOF,
        );
    }

    /// Declares `len` bytes at `offset` that are not captured.
    #[inline(always)]
    pub fn missing(&self, scratch: &mut Scratch, offset: u64, len: u64, why: Shortfall) {
        shortfall(
            scratch,
            self.kind as u64,
            self.key,
            offset,
            len,
            self.flags,
            why as u16,
        );
    }

    /// Declares what moved before this call and was not seen.
    #[inline(always)]
    pub fn unseen_before(&self, scratch: &mut Scratch, claimed: &Claimed) {
        let Claimed { offset, unseen } = *claimed;
        if unseen > 0 {
            self.missing(scratch, offset - unseen, unseen, Shortfall::Unseen);
        }
    }

    /// Makes the walk over the `total` bytes that the call moved ready: [`Cursor`] does it in programs of its own.
    #[inline(always)]
    pub fn prepare(&self, scratch: &mut Scratch, offset: u64, memory: Memory, total: u64) {
        let cursor = &mut scratch.cursor;
        cursor.memory = memory;
        cursor.key = self.key;
        cursor.offset = offset;
        cursor.left = total;
        cursor.wanted = total;
        cursor.held = 0;
        cursor.kind = self.kind as u64;
        cursor.flags = u64::from(self.flags);
        cursor.why = Shortfall::CallTooLarge as u64;
        if self.head_only {
            cursor.wanted = if self.sent() {
                0
            } else {
                total.min(HEAD_ONLY_LEN as u64)
            };
            cursor.why = Shortfall::HeadOnly as u64;
        }
    }
}

/// The walk of a system call; not attached to anything, `sys_exit` goes over to it.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn stream_steps(ctx: RawTracePointContext) -> i32 {
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: as in `sys_exit`, which goes over to it.
    let scratch = unsafe { &mut *scratch };
    if !scratch.walk() {
        // SAFETY: the map holds programs of this type only. It comes back only when the chain is at its end.
        let _ = unsafe { STEPS.tail_call(&ctx, 0) };
    }
    scratch.finish();
    0
}

impl Scratch {
    /// Some steps; true when there is nothing more to do.
    #[inline(always)]
    pub fn walk(&mut self) -> bool {
        for _ in 0..STEPS_PER_RUN {
            if !self.step() {
                return true;
            }
        }
        false
    }

    /// Copies one piece, or goes on to the next buffer; false when there is nothing more to do.
    #[inline(always)]
    fn step(&mut self) -> bool {
        if self.cursor.wanted == 0 {
            return false;
        }
        if self.cursor.memory.part == 0 {
            return self.cursor.memory.next_message();
        }
        if self.cursor.memory.len == 0 && !self.cursor.memory.next_buffer() {
            return false;
        }
        let memory = &self.cursor.memory;
        let len = memory
            .len
            .min(memory.part)
            .min(self.cursor.wanted)
            .min(PIECE_MAX as u64);
        if len == 0 {
            return true;
        }
        if self.cursor.held + len > CHUNK_MAX as u64 {
            self.flush();
        }
        if !self.copy(self.cursor.held, len, self.cursor.memory.base) {
            self.cursor.why = Shortfall::Fault as u64;
            return false;
        }
        self.cursor.held += len;
        self.cursor.wanted -= len;
        self.cursor.memory.base += len;
        self.cursor.memory.len -= len;
        self.cursor.memory.part -= len;
        true
    }

    #[inline(always)]
    fn flush(&mut self) {
        let (kind, key, flags) = (self.cursor.kind, self.cursor.key, self.cursor.flags as u16);
        let (offset, held) = (self.cursor.offset, self.cursor.held);
        event(self, kind, key, offset, held, held, flags);
        self.cursor.offset += held;
        self.cursor.left -= held;
        self.cursor.held = 0;
    }

    /// Sends what is held, and declares what was not copied.
    #[inline(always)]
    pub fn finish(&mut self) {
        if self.cursor.held > 0 {
            self.flush();
        }
        let (kind, key, flags) = (self.cursor.kind, self.cursor.key, self.cursor.flags as u16);
        let (offset, left, why) = (self.cursor.offset, self.cursor.left, self.cursor.why as u16);
        if left > 0 {
            shortfall(self, kind, key, offset, left, flags, why);
        }
    }

    /// Copies `len` bytes of user memory behind the `held` bytes that the scratch already has.
    #[inline(always)]
    fn copy(&mut self, held: u64, len: u64, from: u64) -> bool {
        if held > CHUNK_MAX as u64 || len > PIECE_MAX as u64 {
            return false;
        }
        // SAFETY: `held` and `len` were just bounded so that the destination lies within the payload.
        let to = unsafe { (&raw mut self.payload).cast::<u8>().add(held as usize) };
        let (to, len, from) = (to.cast(), len as u32, from as *const c_void);
        if self.cursor.memory.in_kernel() {
            // SAFETY: the destination has room for `len` bytes; the helper checks the source.
            return unsafe { bpf_probe_read_kernel(to, len, from) == 0 };
        }
        // SAFETY: as above, with the user-memory helper.
        unsafe { bpf_probe_read_user(to, len, from) == 0 }
    }
}

/// Declares `len` stream bytes that are not captured.
#[inline(always)]
fn shortfall(scratch: &mut Scratch, kind: u64, key: ConnKey, offset: u64, len: u64, flags: u16, why: u16) {
    let reason = match why {
        w if w == Shortfall::NotInUserMemory as u16 => Some(LossReason::NotInUserMemory),
        w if w == Shortfall::CallTooLarge as u16 => Some(LossReason::CallTooLarge),
        w if w == Shortfall::Fault as u16 => Some(LossReason::ReadFault),
        _ => None,
    };
    if let Some(reason) = reason {
        lost(reason, len);
    }
    event(scratch, kind, key, offset, len, 0, flags | why << SHORTFALL_SHIFT);
}

/// Sends a data event with the first `captured` bytes of the scratch.
#[inline(always)]
fn event(
    scratch: &mut Scratch,
    kind: u64,
    key: ConnKey,
    offset: u64,
    stream_len: u64,
    captured: u64,
    flags: u16,
) {
    let captured = captured.min(CHUNK_MAX as u64);
    let len = DATA_LEN as u64 + captured;
    let event = &mut scratch.event;
    event.header = header(EventKind::Data, flags, len as usize);
    event.header.kind = kind as u16;
    event.conn = key;
    event.offset = offset;
    event.stream_len = stream_len as u32;
    event.captured_len = captured as u32;
    // SAFETY: `captured` is at most the payload of the scratch, which lies behind the event.
    unsafe { send((&raw const scratch.event).cast(), len, stream_len, Wake::Batched) };
}
