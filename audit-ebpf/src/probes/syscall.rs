//! Bytes that watched processes receive and send.
//!
//! One program at the end of every system call: the arguments are still in `pt_regs`, the result is known,
//! and no state has to be kept between entry and exit. What is not a watched process costs one look-up.

use super::socket::{connection, verdict};
use super::stream::{Call, Memory};
use crate::kernel::{Layout, data_syscall, read_user, socket_of, syscall_argument, syscall_number};
use crate::maps::{PROCESSES, syscalls};
use audit_common::abi::{ConnKey, Shortfall};
use audit_common::config::{ConnState, Verdict};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

const MSG_PEEK: u64 = 2;
const MSG_TRUNC: u64 = 0x20;
/// `struct mmsghdr`s of one sendmmsg or recvmmsg that are read.
const MESSAGES_PER_CALL: u64 = 64;

/// `sys_exit(struct pt_regs *regs, long ret)`
///
/// # Minimum kernel version
/// 4.17
#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    let result: i64 = ctx.arg(1);
    if result < 0 {
        return 0;
    }
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: only the presence is looked at.
    if unsafe { PROCESSES.get(pid) }.is_none() {
        return 0;
    }
    moved(&ctx, ctx.arg(0), result as u64);
    0
}

/// A call of a watched process returned `result`.
#[inline(always)]
fn moved(ctx: &RawTracePointContext, regs: u64, result: u64) {
    let number = syscall_number(regs);
    if number == syscalls().splice {
        spliced(regs, result);
        return;
    }
    let Some((layout, sent)) = data_syscall(number) else {
        return;
    };
    let flags = match layout {
        Layout::Buffer if number == syscalls().recvfrom => syscall_argument(regs, 3),
        Layout::Message => syscall_argument(regs, 2),
        _ => 0,
    };
    if !sent && flags & MSG_PEEK != 0 {
        return;
    }
    let Some(socket) = socket_of(syscall_argument(regs, 0)) else {
        return;
    };
    let Some(state) = connection(&socket) else { return };
    let verdict = verdict(socket.sock, state);
    if verdict == Verdict::Ignore as u32 {
        return;
    }
    let key = ConnKey {
        sock: socket.sock,
        generation: state.generation,
    };
    let call = Call {
        key,
        sent,
        head_only: verdict == Verdict::HeadOnly as u32,
    };
    if result == 0 {
        // A read of nothing is the end of the stream, except into an empty buffer.
        if !sent && layout == Layout::Buffer && syscall_argument(regs, 2) != 0 {
            call.end_of_stream(state);
        }
        return;
    }
    let second = syscall_argument(regs, 1);
    match layout {
        Layout::Opaque => call.missing(state, result, Shortfall::NotInUserMemory),
        Layout::Buffer if !sent && flags & MSG_TRUNC != 0 => {
            call.missing(state, result, Shortfall::Discarded)
        }
        Layout::Messages => messages(ctx, &call, state, second, result),
        Layout::Buffer => call.stream(ctx, state, Memory::buffer(second, result), result),
        Layout::Vector => call.stream(
            ctx,
            state,
            Memory::vector(second, syscall_argument(regs, 2)),
            result,
        ),
        Layout::Message => call.stream(ctx, state, Memory::message(second), result),
    }
}

/// `splice(fd_in, off_in, fd_out, ...)`: either end may be the socket.
#[inline(always)]
fn spliced(regs: u64, result: u64) {
    let (socket, sent) = match socket_of(syscall_argument(regs, 0)) {
        Some(socket) => (socket, false),
        None => match socket_of(syscall_argument(regs, 2)) {
            Some(socket) => (socket, true),
            None => return,
        },
    };
    let Some(state) = connection(&socket) else { return };
    if verdict(socket.sock, state) != Verdict::Ignore as u32 && result != 0 {
        let key = ConnKey {
            sock: socket.sock,
            generation: state.generation,
        };
        let call = Call {
            key,
            sent,
            head_only: false,
        };
        call.missing(state, result, Shortfall::NotInUserMemory);
    }
}

/// recvmmsg and sendmmsg return how many messages moved; each says how many bytes it was.
#[inline(always)]
fn messages(ctx: &RawTracePointContext, call: &Call, state: &mut ConnState, vector: u64, count: u64) {
    const MMSGHDR: u64 = 64;
    const MSG_LEN: u64 = 56;
    let mut total = 0;
    for index in 0..MESSAGES_PER_CALL {
        if index >= count {
            break;
        }
        total += u64::from(read_user::<u32>(vector + index * MMSGHDR + MSG_LEN));
    }
    if count == 1 {
        call.stream(ctx, state, Memory::message(vector), total);
    } else {
        // Several messages on a stream socket in one call: no server does it, so it is only declared.
        call.missing(state, total, Shortfall::CallTooLarge);
    }
}
