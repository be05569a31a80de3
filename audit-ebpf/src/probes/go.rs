//! What Go's `crypto/tls` decrypts and is about to encrypt, and which socket it belongs to.
//!
//! In: uprobes at the begin and at the returns of `crypto/tls.(*Conn)`'s functions. Out: what [`super::tls`] has out. A
//! call is followed by its goroutine, since it may end on another thread than it began on; its socket is the one that the
//! object itself names. Never: a socket that is not a connection of a watched listener.

use super::socket::connection;
use super::tls::{NO_SOCKET, begin, end, id, moved_by_thread, session, uses};
use crate::kernel::{read_user, socket_of};
use crate::maps::GO_CALLS;
use audit_common::abi::ConnKey;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

/// A goroutine of a process, by the address of its `runtime.g`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Goroutine {
    g: u64,
    pid: u64,
}

/// What a goroutine called.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GoCall {
    object: u64,
    buffer: u64,
}

/// `internal/poll.FD` begins with its lock: two 32-bit semaphores behind a 64-bit state. The descriptor is next.
const POLL_FD_SYSFD: u64 = 16;
/// An interface is a pair: its type, its value.
const INTERFACE_VALUE: u64 = 8;
/// A wrapper around a connection is looked into so many times.
const WRAPPERS: usize = 3;
/// What is more is no descriptor.
const DESCRIPTORS: u64 = 1 << 20;

/// Go's registers for arguments and results (internal/abi), and the current goroutine.
#[cfg(bpf_target_arch = "x86_64")]
#[inline(always)]
fn registers(ctx: &ProbeContext) -> (u64, u64, u64) {
    // SAFETY: the context of a uprobe is its registers.
    let regs = unsafe { &*ctx.regs };
    (regs.rax, regs.rbx, regs.r14)
}

#[cfg(bpf_target_arch = "aarch64")]
#[inline(always)]
fn registers(ctx: &ProbeContext) -> (u64, u64, u64) {
    // SAFETY: as above.
    let regs = unsafe { &*ctx.regs };
    (regs.regs[0], regs.regs[1], regs.regs[28])
}

#[inline(always)]
fn goroutine(g: u64) -> Goroutine {
    Goroutine {
        g,
        pid: bpf_get_current_pid_tgid() >> 32,
    }
}

/// `func (c *Conn) Read(b []byte) (int, error)` and `Write`
#[uprobe]
pub fn go_enter(ctx: ProbeContext) -> u32 {
    let (object, buffer, g) = registers(&ctx);
    if id(object).is_some() {
        // No room is a call that is not seen: the answer to it has no request, and is declared.
        let _ = GO_CALLS.insert(goroutine(g), GoCall { object, buffer }, 0);
    }
    0
}

#[uprobe]
pub fn go_read_return(ctx: ProbeContext) -> u32 {
    leave(&ctx, false);
    0
}

#[uprobe]
pub fn go_write_return(ctx: ProbeContext) -> u32 {
    leave(&ctx, true);
    0
}

/// `func (c *Conn) serverHandshake(..) error` and `clientHandshake`: a session that is seen from its begin.
#[uprobe]
pub fn go_handshake(ctx: ProbeContext) -> u32 {
    begin(registers(&ctx).0);
    0
}

/// `func (c *Conn) Close() error`
#[uprobe]
pub fn go_close(ctx: ProbeContext) -> u32 {
    end(registers(&ctx).0);
    0
}

#[inline(always)]
fn leave(ctx: &ProbeContext, sent: bool) {
    let (bytes, _, g) = registers(ctx);
    let goroutine = goroutine(g);
    // SAFETY: map values stay readable while the program runs.
    let Some(call) = (unsafe { GO_CALLS.get(goroutine) }) else {
        return;
    };
    let call = *call;
    let _ = GO_CALLS.remove(goroutine);
    let (Some(id), true) = (id(call.object), (bytes as i64) > 0) else {
        return;
    };
    let Some(session) = session(id) else { return };
    uses(call.object, session, socket(call.object), true);
    moved_by_thread(ctx, id, session, call.buffer, bytes, sent);
}

/// The connection of a `*tls.Conn`: its first field is a `net.Conn`, mostly a `*net.TCPConn`, whose first field leads to a
/// `net.netFD`, which begins with its `poll.FD`. Wrappers have the connection that they wrap in their own first field.
#[inline(always)]
fn socket(object: u64) -> ConnKey {
    let mut interface = object;
    for _ in 0..WRAPPERS {
        let value: u64 = read_user(interface + INTERFACE_VALUE);
        let net_fd: u64 = read_user(value);
        let fd: u64 = read_user(net_fd + POLL_FD_SYSFD);
        if net_fd != 0
            && fd < DESCRIPTORS
            && let Some(socket) = socket_of(fd)
            && let Some(state) = connection(&socket, 0)
        {
            return ConnKey {
                sock: socket.sock,
                generation: state.generation,
            };
        }
        interface = value;
    }
    NO_SOCKET
}
