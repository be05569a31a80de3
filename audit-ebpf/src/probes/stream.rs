//! Copies what one call moved into data events.
//!
//! The walk over the buffers is a program of its own that calls itself: a loop over all of them would be more
//! than the verifier follows. Its state lies in a map, so that each step looks the same to the verifier.

use crate::emit::{Wake, header, lost, send};
use crate::kernel::read_user;
use crate::maps::{CURSOR, DATA, PIECE_MAX, STEPS};
use audit_common::abi::{
    CHUNK_MAX, ConnKey, DATA_LEN, EventKind, FLAG_EOF, FLAG_TX, SHORTFALL_SHIFT, Shortfall,
};
use audit_common::config::{ConnState, HEAD_ONLY_LEN};
use audit_common::loss::LossReason;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

/// Steps of one run of the program. A call chain may have 32 links more (`MAX_TAIL_CALL_CNT`), so one system call
/// has 33 times as many steps: 8 MiB in one buffer, or 1000 small ones.
const STEPS_PER_RUN: usize = 32;

/// User memory that a call filled or read from.
pub struct Memory {
    /// What is left of the current buffer.
    base: u64,
    len: u64,
    /// The `struct iovec`s that follow.
    vector: u64,
    count: u64,
}

impl Memory {
    #[inline(always)]
    pub fn buffer(base: u64, len: u64) -> Self {
        Self {
            base,
            len,
            vector: 0,
            count: 0,
        }
    }

    #[inline(always)]
    pub fn vector(vector: u64, count: u64) -> Self {
        Self {
            base: 0,
            len: 0,
            vector,
            count,
        }
    }

    /// `struct user_msghdr`: name 8, namelen 8 with padding, iov 8, iovlen 8.
    #[inline(always)]
    pub fn message(header: u64) -> Self {
        Self::vector(read_user(header + 16), read_user(header + 24))
    }
}

/// One call on one connection.
pub struct Call {
    pub key: ConnKey,
    pub sent: bool,
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
    /// Event flags of the direction.
    flags: u64,
    /// Why bytes will be missing if they are.
    why: u64,
}

impl Call {
    #[inline(always)]
    fn flags(&self) -> u16 {
        if self.sent { FLAG_TX } else { 0 }
    }

    /// Takes `len` bytes of the stream for this call and gives the offset of the first.
    #[inline(always)]
    fn claim(&self, state: &mut ConnState, len: u64) -> u64 {
        // A plain addition: Linux 5.10 has no fetching atomics. Threads that use one direction of a socket at
        // the same time are in an order of their own only if the program locks, and then so is this.
        let counter = if self.sent {
            &mut state.tx_bytes
        } else {
            &mut state.rx_bytes
        };
        let offset = *counter;
        *counter += len;
        offset
    }

    #[inline(always)]
    pub fn end_of_stream(&self, state: &ConnState) {
        event(self.key, state.rx_bytes, 0, 0, self.flags() | FLAG_EOF);
    }

    /// Declares `len` bytes that are not captured.
    #[inline(always)]
    pub fn missing(&self, state: &mut ConnState, len: u64, why: Shortfall) {
        let offset = self.claim(state, len);
        shortfall(self.key, offset, len, self.flags(), why as u16);
    }

    /// Sends the `total` bytes that the call moved, gathered into events of up to [`CHUNK_MAX`] bytes.
    #[inline(always)]
    pub fn stream(&self, ctx: &RawTracePointContext, state: &mut ConnState, memory: Memory, total: u64) {
        let offset = self.claim(state, total);
        let Some(cursor) = CURSOR.get_ptr_mut(0) else {
            return;
        };
        // SAFETY: this CPU's own scratch; programs do not preempt each other on a CPU.
        let cursor = unsafe { &mut *cursor };
        cursor.memory = memory;
        cursor.key = self.key;
        cursor.offset = offset;
        cursor.left = total;
        cursor.wanted = total;
        cursor.held = 0;
        cursor.flags = u64::from(self.flags());
        cursor.why = Shortfall::CallTooLarge as u64;
        if self.head_only {
            cursor.wanted = if self.sent {
                0
            } else {
                total.min(HEAD_ONLY_LEN as u64)
            };
            cursor.why = Shortfall::HeadOnly as u64;
        }
        // SAFETY: the map holds programs of this type only. It comes back only when it fails.
        let _ = unsafe { STEPS.tail_call(ctx, 0) };
        shortfall(
            self.key,
            offset,
            total,
            self.flags(),
            Shortfall::CallTooLarge as u16,
        );
    }
}

/// The walk; not attached to anything, `sys_exit` goes over to it.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn stream_steps(ctx: RawTracePointContext) -> i32 {
    let Some(cursor) = CURSOR.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's own scratch; programs do not preempt each other on a CPU.
    let cursor = unsafe { &mut *cursor };
    for _ in 0..STEPS_PER_RUN {
        if !cursor.step() {
            cursor.finish();
            return 0;
        }
    }
    // SAFETY: the map holds programs of this type only. It comes back only when the chain is at its end.
    let _ = unsafe { STEPS.tail_call(&ctx, 0) };
    cursor.finish();
    0
}

impl Cursor {
    /// Copies one piece, or goes on to the next buffer; false when there is nothing more to do.
    #[inline(always)]
    fn step(&mut self) -> bool {
        if self.wanted == 0 {
            return false;
        }
        if self.memory.len == 0 {
            return self.next_buffer();
        }
        let len = self.memory.len.min(self.wanted).min(PIECE_MAX as u64);
        if self.held + len > CHUNK_MAX as u64 {
            self.flush();
        }
        if !copy(self.held, len, self.memory.base) {
            self.why = Shortfall::Fault as u64;
            return false;
        }
        self.held += len;
        self.wanted -= len;
        self.memory.base += len;
        self.memory.len -= len;
        true
    }

    #[inline(always)]
    fn next_buffer(&mut self) -> bool {
        if self.memory.count == 0 {
            return false;
        }
        self.memory.base = read_user(self.memory.vector);
        self.memory.len = read_user(self.memory.vector + 8);
        self.memory.vector += 16;
        self.memory.count -= 1;
        true
    }

    #[inline(always)]
    fn flush(&mut self) {
        event(self.key, self.offset, self.held, self.held, self.flags as u16);
        self.offset += self.held;
        self.left -= self.held;
        self.held = 0;
    }

    #[inline(always)]
    fn finish(&mut self) {
        if self.held > 0 {
            self.flush();
        }
        if self.left > 0 {
            shortfall(
                self.key,
                self.offset,
                self.left,
                self.flags as u16,
                self.why as u16,
            );
        }
    }
}

/// Declares `len` stream bytes that are not captured.
#[inline(always)]
fn shortfall(key: ConnKey, offset: u64, len: u64, flags: u16, why: u16) {
    let reason = match why {
        w if w == Shortfall::NotInUserMemory as u16 => Some(LossReason::NotInUserMemory),
        w if w == Shortfall::CallTooLarge as u16 => Some(LossReason::CallTooLarge),
        w if w == Shortfall::Fault as u16 => Some(LossReason::ReadFault),
        _ => None,
    };
    if let Some(reason) = reason {
        lost(reason, len);
    }
    event(key, offset, len, 0, flags | why << SHORTFALL_SHIFT);
}

/// Sends a data event with the first `captured` bytes of the scratch.
#[inline(always)]
fn event(key: ConnKey, offset: u64, stream_len: u64, captured: u64, flags: u16) {
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own scratch; programs do not preempt each other on a CPU.
    let event = unsafe { &mut (*scratch).event };
    let captured = captured.min(CHUNK_MAX as u64);
    let len = DATA_LEN as u64 + captured;
    event.header = header(EventKind::Data, flags, len as usize);
    event.conn = key;
    event.offset = offset;
    event.stream_len = stream_len as u32;
    event.captured_len = captured as u32;
    // SAFETY: `captured` is at most the payload of the scratch.
    unsafe { send(scratch.cast(), len, stream_len, Wake::Batched) };
}

/// Copies `len` bytes of user memory behind the `held` bytes that the scratch already has.
#[inline(always)]
fn copy(held: u64, len: u64, from: u64) -> bool {
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return false;
    };
    if held > CHUNK_MAX as u64 || len > PIECE_MAX as u64 {
        return false;
    }
    // SAFETY: `held` and `len` were just bounded so that the destination lies within the payload.
    let to = unsafe { (&raw mut (*scratch).payload).cast::<u8>().add(held as usize) };
    // SAFETY: the destination has room for `len` bytes; the helper checks the source.
    unsafe { bpf_probe_read_user(to.cast(), len as u32, from as *const c_void) == 0 }
}
