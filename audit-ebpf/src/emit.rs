//! Sends an event at its real length, or counts that it could not.

use crate::maps::{EVENTS, LOSS};
use audit_common::abi::{EventHeader, EventKind};
use audit_common::loss::LossReason;
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ringbuf_output};
use aya_ebpf::maps::ring_buf::RingBufEntry;
use core::arch::asm;

/// Unread bytes at which the reader is woken. Below it the reader's own timer flushes, so that a busy
/// server does not pay for a wake-up with each event.
const WAKE_BYTES: u64 = 512 * 1024;

/// Above this the reader is awake and behind: another wake-up for each event would only slow the server.
/// Should one have been missed, the reader's timer is soon enough.
const AWAKE_BYTES: u64 = WAKE_BYTES + 128 * 1024;

/// When the reader shall be woken.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Wake {
    Batched,
    /// The reader has to look something up while the process still lives.
    Now,
}

/// A header for an event of `len` bytes; time is boot time, the process is the current one.
#[inline(always)]
pub fn header(kind: EventKind, flags: u16, len: usize) -> EventHeader {
    let ids = bpf_get_current_pid_tgid();
    EventHeader {
        kind: kind as u16,
        flags,
        len: len as u32,
        time_ns: now(),
        pid: (ids >> 32) as u32,
        tid: ids as u32,
    }
}

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments (since Linux 5.8).
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Room for a `T` in the ring buffer, which holds whatever stood there before. None, and counted, when there is no room.
#[inline(always)]
pub fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        lost(LossReason::RingFull, 0);
    }
    entry
}

/// Flags for an event that is sent now.
#[inline(always)]
pub fn wake_up(wake: Wake) -> u64 {
    let unread = EVENTS.query(u64::from(BPF_RB_AVAIL_DATA));
    let due = wake == Wake::Now || (unread > WAKE_BYTES && unread < AWAKE_BYTES);
    u64::from(if due {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    })
}

/// Sends the first `len` bytes at `event`; false, and counted with `stream_bytes`, when there is no room.
///
/// # Safety
/// `event` points to at least `len` readable bytes; the verifier proves it again.
#[inline(always)]
pub unsafe fn send(event: *const u8, len: u64, stream_bytes: u64, wake: Wake) -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // SAFETY: the map is of the ring buffer kind, and the caller promises `len` bytes.
    let status = unsafe { bpf_ringbuf_output(ring, event.cast_mut().cast(), len, wake_up(wake)) };
    if status != 0 {
        lost(LossReason::RingFull, stream_bytes);
    }
    status == 0
}

/// Counts an event that was lost, and the stream bytes that it stood for.
#[inline(always)]
pub fn lost(reason: LossReason, stream_bytes: u64) {
    let Some(counters) = LOSS.get_ptr_mut(0) else {
        return;
    };
    let index = reason as usize;
    // SAFETY: map values stay in place while the program runs, and are aligned to 8 bytes.
    unsafe {
        add(&raw mut (*counters).events[index], 1);
        add(&raw mut (*counters).bytes[index], stream_bytes);
    }
}

/// Adds in one instruction (`BPF_XADD`), since another program may interrupt this one on its CPU. Rust has no name for it on this
/// target: its own atomics also fetch, which Linux 5.10 does not know.
///
/// # Safety
/// `to` is a map's value, aligned to 8 bytes.
#[inline(always)]
unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller's promise; nothing else is changed.
    unsafe {
        asm!("lock *(u64 *)({to} + 0) += {value}", to = in(reg) to, value = in(reg) value, options(nostack));
    }
}
