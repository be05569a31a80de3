//! Bytes that watched processes receive and send.
//!
//! One program at the end of every system call: the arguments are still in `pt_regs`, the result is known,
//! and no state has to be kept between entry and exit. What is not a watched process costs one look-up.

use super::memory::{MMSGHDR, MSG_LEN, Memory};
use super::moved::{MSG_NOT_STREAM, discards, process, watched};
use super::process::mapped;
use crate::kernel::{Layout, data_syscall, read_user, socket_of, syscall_argument, syscall_number};
use crate::maps::{DATA, STEPS, syscalls};
use audit_common::abi::Shortfall;
use audit_common::config::PROCESS_TLS;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

/// Messages of one sendmmsg or recvmmsg at most (`UIO_MAXIOV`).
const MESSAGES_PER_CALL: u64 = 1024;

/// Indices of [`STEPS`].
const STEP_COPY: u32 = 0;
const STEP_MESSAGE_LENGTHS: u32 = 1;
const STEP_MESSAGE_BYTES: u32 = 2;

/// `sys_exit(struct pt_regs *regs, long ret)`
///
/// # Minimum kernel version
/// 4.17
///
/// In one piece: arm64 has no tail calls out of functions before Linux 6.0.
#[raw_tracepoint(tracepoint = "sys_exit")]
#[inline(always)]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let result: i64 = ctx.arg(1);
    if result < 0 {
        return 0;
    }
    let flags = process();
    if flags == 0 {
        return 0;
    }
    let tls = flags & PROCESS_TLS != 0;
    let regs: u64 = ctx.arg(0);
    let number = syscall_number(regs);
    if number == syscalls().mmap {
        library_mapped(regs);
    } else if number == syscalls().splice {
        spliced(regs, result as u64);
    } else {
        moved(&ctx, regs, number, result as u64, tls);
    }
    0
}

/// A file that is mapped to be executed may be a TLS library.
#[inline(always)]
fn library_mapped(regs: u64) {
    const PROT_EXEC: u64 = 4;
    const MAP_ANONYMOUS: u64 = 0x20;
    if syscall_argument(regs, 2) & PROT_EXEC != 0 && syscall_argument(regs, 3) & MAP_ANONYMOUS == 0 {
        mapped();
    }
}

/// A call of a watched process returned `result`.
#[inline(always)]
fn moved(ctx: &RawTracePointContext, regs: u64, number: u32, result: u64, tls: bool) {
    let Some((layout, sent)) = data_syscall(number) else {
        return;
    };
    let flags = match layout {
        Layout::Buffer if number == syscalls().recvfrom => syscall_argument(regs, 3),
        Layout::Messages => syscall_argument(regs, 3),
        Layout::Message => syscall_argument(regs, 2),
        _ => 0,
    };
    if !sent && flags & MSG_NOT_STREAM != 0 {
        return;
    }
    if layout == Layout::Messages {
        // SAFETY: the map holds programs of this type only. It comes back only when it fails.
        let _ = unsafe { STEPS.tail_call(ctx, STEP_MESSAGE_LENGTHS) };
        return;
    }
    let second = syscall_argument(regs, 1);
    let Some(socket) = socket_of(syscall_argument(regs, 0)) else {
        return;
    };
    let bytes = result;
    let Some(mut moved) = watched(&socket, sent, bytes, tls) else {
        return;
    };
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own scratch, of which no program but this one makes use: the kernel does not run it twice at a time on
    // a CPU (`recursion_misses`), whether it can be preempted or not.
    let scratch = unsafe { &mut *scratch };
    let call = moved.call(sent);
    if result == 0 {
        // A read of nothing is the end of the stream, except into an empty buffer.
        if !sent && asked_for(layout, second, syscall_argument(regs, 2)) != 0 {
            let claimed = moved.claim(sent, 0);
            call.unseen_before(scratch, &claimed);
            call.end_of_stream(scratch, claimed.offset);
        }
        return;
    }
    let claimed = moved.claim(sent, bytes);
    let offset = claimed.offset;
    call.unseen_before(scratch, &claimed);
    let memory = match layout {
        Layout::Opaque => return call.missing(scratch, offset, bytes, Shortfall::NotInUserMemory),
        _ if discards(&socket, sent, flags) => {
            return call.missing(scratch, offset, bytes, Shortfall::Discarded);
        }
        Layout::Buffer => Memory::buffer(second, bytes),
        Layout::Vector => Memory::vector(second, syscall_argument(regs, 2)),
        Layout::Message | Layout::Messages => Memory::message(second),
    };
    call.prepare(scratch, offset, memory, bytes);
    // SAFETY: the map holds programs of this type only. It comes back only when it fails.
    let _ = unsafe { STEPS.tail_call(ctx, STEP_COPY) };
    call.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
}

/// Bytes that a receiving call had room for in its first buffer. `second` and `third` are its arguments.
#[inline(always)]
fn asked_for(layout: Layout, second: u64, third: u64) -> u64 {
    const IOV_LEN: u64 = 8;
    match layout {
        Layout::Buffer => third,
        Layout::Vector if third != 0 => read_user(second + IOV_LEN),
        Layout::Message if read_user::<u64>(second + 24) != 0 => {
            read_user(read_user::<u64>(second + 16) + IOV_LEN)
        }
        _ => 0,
    }
}

/// `splice(fd_in, off_in, fd_out, ...)`: either end may be the socket.
#[inline(always)]
fn spliced(regs: u64, result: u64) {
    let from = socket_of(syscall_argument(regs, 0));
    let received = from.is_some();
    let Some(socket) = from.or_else(|| socket_of(syscall_argument(regs, 2))) else {
        return;
    };
    let (Some(mut moved), Some(scratch)) = (watched(&socket, !received, result, false), DATA.get_ptr_mut(0))
    else {
        return;
    };
    if result != 0 {
        let claimed = moved.claim(!received, result);
        // SAFETY: as in `moved`.
        let scratch = unsafe { &mut *scratch };
        let call = moved.call(!received);
        call.unseen_before(scratch, &claimed);
        call.missing(scratch, claimed.offset, result, Shortfall::NotInUserMemory);
    }
}

/// recvmmsg and sendmmsg return how many messages moved; each says how many bytes it was. Not attached to anything,
/// `sys_exit` goes over to it: a program of its own keeps the loop apart from all that follows.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn message_lengths(ctx: RawTracePointContext) -> i32 {
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's own scratch, of which no program but this one makes use: the kernel does not run it twice at a time on
    // a CPU (`recursion_misses`), whether it can be preempted or not.
    let scratch = unsafe { &mut *scratch };
    let headers = syscall_argument(ctx.arg(0), 1);
    scratch.sum = 0;
    scratch.count = ctx.arg(1);
    for index in 0..MESSAGES_PER_CALL {
        if index >= scratch.count {
            break;
        }
        scratch.sum += u64::from(read_user::<u32>(headers + index * MMSGHDR + MSG_LEN));
    }
    // SAFETY: the map holds programs of this type only. It comes back only when it fails.
    let _ = unsafe { STEPS.tail_call(&ctx, STEP_MESSAGE_BYTES) };
    0
}

/// Behind [`message_lengths`]: the messages' bytes as one call's.
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn message_bytes(ctx: RawTracePointContext) -> i32 {
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: this CPU's own scratch, of which no program but this one makes use: the kernel does not run it twice at a time on
    // a CPU (`recursion_misses`), whether it can be preempted or not.
    let scratch = unsafe { &mut *scratch };
    let (bytes, count) = (scratch.sum, scratch.count);
    let regs: u64 = ctx.arg(0);
    let sent = syscall_number(regs) == syscalls().sendmmsg;
    let flags = syscall_argument(regs, 3);
    let Some(socket) = socket_of(syscall_argument(regs, 0)) else {
        return 0;
    };
    let Some(mut moved) = watched(&socket, sent, bytes, process() & PROCESS_TLS != 0) else {
        return 0;
    };
    if bytes == 0 {
        return 0;
    }
    let claimed = moved.claim(sent, bytes);
    let offset = claimed.offset;
    let call = moved.call(sent);
    call.unseen_before(scratch, &claimed);
    if discards(&socket, sent, flags) {
        call.missing(scratch, offset, bytes, Shortfall::Discarded);
        return 0;
    }
    let memory = Memory::messages(syscall_argument(regs, 1), count);
    call.prepare(scratch, offset, memory, bytes);
    // SAFETY: the map holds programs of this type only. It comes back only when it fails.
    let _ = unsafe { STEPS.tail_call(&ctx, STEP_COPY) };
    call.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
    0
}
