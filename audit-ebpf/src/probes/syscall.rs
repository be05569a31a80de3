//! Bytes that watched processes receive and send.
//!
//! One program at the end of every system call: the arguments are still in `pt_regs`, the result is known,
//! and no state has to be kept between entry and exit. What is not a watched process costs one look-up.

use super::moved::{MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC, watched};
use super::process::mapped;
use super::stream::Memory;
use crate::kernel::{Layout, Socket, data_syscall, read_user, socket_of, syscall_argument, syscall_number};
use crate::maps::{DATA, PROCESSES, STEPS, syscalls};
use audit_common::abi::Shortfall;
use audit_common::config::PROCESS_TLS;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

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
    // SAFETY: a copy of one word is read.
    let Some(flags) = (unsafe { PROCESSES.get(pid) }) else {
        return 0;
    };
    let tls = *flags & PROCESS_TLS != 0;
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
        Layout::Message => syscall_argument(regs, 2),
        _ => 0,
    };
    if !sent && flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let second = syscall_argument(regs, 1);
    let Some(socket) = socket_of(syscall_argument(regs, 0)) else {
        return;
    };
    if layout == Layout::Messages {
        messages(ctx, &socket, second, result, sent, tls);
        return;
    }
    let bytes = result;
    let Some(mut moved) = watched(&socket, sent, bytes, tls) else {
        return;
    };
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own scratch; tracepoint programs do not preempt each other on a CPU.
    let scratch = unsafe { &mut *scratch };
    let call = moved.call(sent);
    if result == 0 {
        // A read of nothing is the end of the stream, except into an empty buffer.
        if !sent && layout == Layout::Buffer && syscall_argument(regs, 2) != 0 {
            call.end_of_stream(scratch, moved.received());
        }
        return;
    }
    let offset = moved.claim(sent, bytes);
    let memory = match layout {
        Layout::Opaque => return call.missing(scratch, offset, bytes, Shortfall::NotInUserMemory),
        Layout::Buffer if !sent && flags & MSG_TRUNC != 0 => {
            return call.missing(scratch, offset, bytes, Shortfall::Discarded);
        }
        Layout::Buffer => Memory::buffer(second, bytes),
        Layout::Vector => Memory::vector(second, syscall_argument(regs, 2)),
        Layout::Message | Layout::Messages => Memory::message(second),
    };
    call.prepare(scratch, offset, memory, bytes);
    // SAFETY: the map holds programs of this type only. It comes back only when it fails.
    let _ = unsafe { STEPS.tail_call(ctx, 0) };
    call.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
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
        let offset = moved.claim(!received, result);
        // SAFETY: this CPU's own scratch; tracepoint programs do not preempt each other on a CPU.
        let scratch = unsafe { &mut *scratch };
        moved
            .call(!received)
            .missing(scratch, offset, result, Shortfall::NotInUserMemory);
    }
}

/// recvmmsg and sendmmsg return how many messages moved; each says how many bytes it was.
#[inline(always)]
fn messages(ctx: &RawTracePointContext, socket: &Socket, vector: u64, count: u64, sent: bool, tls: bool) {
    const MMSGHDR: u64 = 64;
    const MSG_LEN: u64 = 56;
    let Some(scratch) = DATA.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own scratch; tracepoint programs do not preempt each other on a CPU.
    let scratch = unsafe { &mut *scratch };
    scratch.sum = 0;
    scratch.count = count;
    for index in 0..MESSAGES_PER_CALL {
        if index >= count {
            break;
        }
        scratch.sum += u64::from(read_user::<u32>(vector + index * MMSGHDR + MSG_LEN));
    }
    // SAFETY: references are valid to read from; volatile keeps the compiler from using its registers instead.
    let (bytes, count) = unsafe {
        (
            core::ptr::read_volatile(&raw const scratch.sum),
            core::ptr::read_volatile(&raw const scratch.count),
        )
    };
    let Some(mut moved) = watched(socket, sent, bytes, tls) else {
        return;
    };
    let offset = moved.claim(sent, bytes);
    let call = moved.call(sent);
    if count == 1 {
        call.prepare(scratch, offset, Memory::message(vector), bytes);
        // SAFETY: the map holds programs of this type only. It comes back only when it fails.
        let _ = unsafe { STEPS.tail_call(ctx, 0) };
    }
    // Several messages on a stream socket in one call: no server does it, so it is only declared.
    call.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
}
