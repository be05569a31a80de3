//! The transport functions by kprobe and kretprobe, for kernels whose functions have no trampolines (arm64 before 6.x).
//!
//! In: entry and return of the same functions as in [`super::transport`]. Out: the same events, by the same code. One
//! program serves every function with the same arguments, since a kprobe sees registers and not types. A return that the
//! kernel had no room to watch (`maxactive`) moves bytes that are not seen; [`super::sequence`] finds them.

use super::process::mapped;
use super::socket::listens;
use super::transport::{Work, begin_mapping, enter, leave, mapping_ended, walk};
use crate::kernel::{call_argument, call_result};
use crate::maps::KRETPROBE_STEPS;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{kprobe, kretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

#[inline(always)]
fn message(ctx: &ProbeContext, flags: u64) {
    let argument = |n| call_argument(ctx, n);
    enter(Work::Message, argument(0), argument(1), 0, argument(2), flags);
}

/// `tcp_sendmsg`, `unix_stream_sendmsg`: (socket, message, length)
#[kprobe]
pub fn kprobe_sendmsg(ctx: ProbeContext) -> u32 {
    message(&ctx, 0);
    0
}

/// `tcp_recvmsg`, `unix_stream_recvmsg`: (socket, message, length, flags)
#[kprobe]
pub fn kprobe_recvmsg(ctx: ProbeContext) -> u32 {
    message(&ctx, call_argument(&ctx, 3) & INT);
    0
}

/// `tcp_recvmsg` before Linux 5.19: (socket, message, length, nonblock, flags)
#[kprobe]
pub fn kprobe_recvmsg_nonblock(ctx: ProbeContext) -> u32 {
    message(&ctx, call_argument(&ctx, 4) & INT);
    0
}

/// `tcp_sendpage`, `unix_stream_sendpage`: (socket, page, offset, length), before Linux 6.5
#[kprobe]
pub fn kprobe_sendpage(ctx: ProbeContext) -> u32 {
    let argument = |n| call_argument(&ctx, n);
    enter(
        Work::Page,
        argument(0),
        argument(1),
        argument(2) & INT,
        argument(3),
        0,
    );
    0
}

/// `tcp_splice_read`, `unix_stream_splice_read`: (socket, position, pipe, length)
#[kprobe]
pub fn kprobe_splice_read(ctx: ProbeContext) -> u32 {
    let argument = |n| call_argument(&ctx, n);
    enter(Work::Pipe, argument(0), argument(2), 0, argument(3), 0);
    0
}

/// `vm_mmap_pgoff(file, address, length, protection)`
#[kprobe]
pub fn kprobe_mmap(ctx: ProbeContext) -> u32 {
    begin_mapping(call_argument(&ctx, 0), call_argument(&ctx, 3));
    0
}

#[kretprobe]
pub fn kretprobe_mmap(_ctx: RetProbeContext) -> u32 {
    if mapping_ended() {
        mapped();
    }
    0
}

/// `__sys_listen(fd, backlog)`
#[kretprobe]
pub fn kretprobe_listen(ctx: RetProbeContext) -> u32 {
    if call_result(&ctx) & INT == 0 {
        listens((bpf_get_current_pid_tgid() >> 32) as u32);
    }
    0
}

/// An `int` in a register; what is above it is not defined.
const INT: u64 = u32::MAX as u64;

/// An `int` that was returned, with its sign.
#[inline(always)]
fn int(ctx: &impl EbpfContext) -> i64 {
    i64::from(call_result(ctx) as i32)
}

#[kretprobe]
pub fn kretprobe_tcp_sent(ctx: RetProbeContext) -> u32 {
    leave(&ctx, Some(&KRETPROBE_STEPS), int(&ctx), true, false);
    0
}

#[kretprobe]
pub fn kretprobe_tcp_received(ctx: RetProbeContext) -> u32 {
    leave(&ctx, Some(&KRETPROBE_STEPS), int(&ctx), false, false);
    0
}

#[kretprobe]
pub fn kretprobe_unix_sent(ctx: RetProbeContext) -> u32 {
    leave(&ctx, Some(&KRETPROBE_STEPS), int(&ctx), true, true);
    0
}

#[kretprobe]
pub fn kretprobe_unix_received(ctx: RetProbeContext) -> u32 {
    leave(&ctx, Some(&KRETPROBE_STEPS), int(&ctx), false, true);
    0
}

/// `ssize_t` of a splice out of a socket.
#[kretprobe]
pub fn kretprobe_spliced(ctx: RetProbeContext) -> u32 {
    leave(&ctx, None, call_result(&ctx) as i64, false, true);
    0
}

/// The walk of a call; not attached to anything, the return probes go over to it.
#[kretprobe]
pub fn steps_kretprobe(ctx: RetProbeContext) -> u32 {
    walk(&ctx, &KRETPROBE_STEPS);
    0
}
