//! Birth and death of connections, and who listens.

use super::announce::{announce, announce_named, local_port, remote_port};
use super::sequence;
use crate::emit::{Wake, lost, now};
use crate::kernel::{AF_UNIX, Socket};
use crate::maps::{CONNECTING, CONNECTIONS, LISTENERS, PROCESSES, VERDICTS};
use audit_common::abi::{EventKind, FLAG_JOINED, FLAG_UPSTREAM};
use audit_common::config::{
    CONN_ANNOUNCED, CONN_CLOSED, CONN_JOINED, CONN_PORT_SHIFT, CONN_UPSTREAM, ConnState, PROCESS_SERVES,
    PROCESS_WATCHED, Verdict,
};
use audit_common::loss::LossReason;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{raw_tracepoint, tracepoint};
use aya_ebpf::programs::{RawTracePointContext, TracePointContext};

const TCP_ESTABLISHED: i32 = 1;
const TCP_SYN_SENT: i32 = 2;
const TCP_CLOSE: i32 = 7;
const TCP_LISTEN: i32 = 10;

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
///
/// # Minimum kernel version
/// 4.16
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: RawTracePointContext) -> i32 {
    changed(&ctx);
    0
}

/// The same once more: the kernel leaves out a run of a program that an interrupt (a packet's, which changes a state too) or another
/// task finds in the middle of a run on the same processor. It finds one of the two at most, and the other one sees the change.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn inet_sock_set_state_again(ctx: RawTracePointContext) -> i32 {
    changed(&ctx);
    0
}

/// The state of a socket changes; told twice, the second time changes nothing.
#[inline(always)]
fn changed(ctx: &RawTracePointContext) {
    let sock: u64 = ctx.arg(0);
    match ctx.arg::<i32>(2) {
        TCP_LISTEN => listening(sock),
        TCP_SYN_SENT => connecting(sock),
        TCP_ESTABLISHED if !is_new(sock) => established(sock),
        TCP_CLOSE => closed(sock, ctx.arg(1)),
        _ => {}
    }
}

/// Whether nothing has happened on a connection since its state was made.
#[inline(always)]
fn is_new(sock: u64) -> bool {
    // SAFETY: a copy is read.
    let Some(state) = (unsafe { CONNECTIONS.get(sock) }) else {
        return false;
    };
    let mut now = *state;
    sequence::begin(sock, &mut now);
    let same = now.rx_sequence == state.rx_sequence && now.tx_sequence == state.tx_sequence;
    same && state.inode == 0 && state.flags & CONN_CLOSED == 0
}

/// `listen(2)` has returned; tells of unix sockets, which have no state tracepoint.
#[tracepoint(category = "syscalls", name = "sys_exit_listen")]
pub fn sys_exit_listen(_ctx: TracePointContext) -> u32 {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    listens(pid);
    0
}

/// A process that listens goes onto the allow-list; what is known of it stays.
#[inline(always)]
pub fn listens(pid: u32) {
    let flags = process(pid);
    if flags & PROCESS_SERVES == 0 {
        watch_process(pid, flags | PROCESS_WATCHED | PROCESS_SERVES);
    }
}

/// `PROCESS_*` flags, 0 of a process that is not on the allow-list.
#[inline(always)]
fn process(pid: u32) -> u32 {
    // SAFETY: a copy of one word is read.
    unsafe { PROCESSES.get(pid) }.copied().unwrap_or(0)
}

#[inline(always)]
fn serves(pid: u32) -> bool {
    process(pid) & PROCESS_SERVES != 0
}

/// Puts a process on the allow-list with its `PROCESS_*` flags.
#[inline(always)]
pub fn watch_process(pid: u32, flags: u32) {
    if PROCESSES.insert(pid, flags, 0).is_err() {
        lost(LossReason::ProcessMapFull, 0);
    }
}

#[inline(always)]
fn listening(sock: u64) {
    let port = local_port(sock);
    // An existing verdict stays: the same service was restarted, or shares the port by SO_REUSEPORT.
    let _ = LISTENERS.insert(
        port,
        Verdict::Undecided as u32,
        u64::from(aya_ebpf::bindings::BPF_NOEXIST),
    );
    listens((bpf_get_current_pid_tgid() >> 32) as u32);
    let state = fresh(0, Verdict::Undecided as u32, 0);
    announce(EventKind::Listen, 0, sock, &state, 0, Wake::Now);
}

#[inline(always)]
fn fresh(inode: u64, verdict: u32, flags: u32) -> ConnState {
    ConnState {
        generation: now(),
        inode,
        rx_bytes: 0,
        tx_bytes: 0,
        rx_sequence: 0,
        tx_sequence: 0,
        verdict,
        flags,
    }
}

/// Runs in the connecting process, so that it can be named as the client.
#[inline(always)]
fn connecting(sock: u64) {
    let ids = bpf_get_current_pid_tgid();
    if listened_to(remote_port(sock)) || serves((ids >> 32) as u32) {
        let _ = CONNECTING.insert(sock, ids, 0);
    }
}

#[inline(always)]
fn listened_to(port: u32) -> bool {
    // SAFETY: only the presence is looked at.
    unsafe { LISTENERS.get(port) }.is_some()
}

#[inline(always)]
fn established(sock: u64) {
    // SAFETY: a copy of one word is read.
    if let Some(ids) = unsafe { CONNECTING.get(sock) } {
        let ids = *ids;
        let _ = CONNECTING.remove(sock);
        let flags = CONN_UPSTREAM | local_port(sock) << CONN_PORT_SHIFT;
        let mut state = fresh(0, Verdict::Undecided as u32, flags);
        sequence::begin(sock, &mut state);
        if serves((ids >> 32) as u32) && CONNECTIONS.insert(sock, state, 0).is_err() {
            lost(LossReason::ConnMapFull, 0);
        }
        if listened_to(remote_port(sock)) {
            announce(EventKind::ClientConnect, 0, sock, &state, ids, Wake::Now);
        }
        return;
    }
    // SAFETY: a copy of one word is read.
    let Some(verdict) = (unsafe { LISTENERS.get(local_port(sock)) }) else {
        return;
    };
    let mut state = fresh(0, *verdict, local_port(sock) << CONN_PORT_SHIFT);
    sequence::begin(sock, &mut state);
    if CONNECTIONS.insert(sock, state, 0).is_err() {
        lost(LossReason::ConnMapFull, 0);
    }
}

/// The entry stays: data events may still follow, and userspace removes it after its grace time.
#[inline(always)]
fn closed(sock: u64, old_state: i32) {
    let _ = CONNECTING.remove(sock);
    let Some(state) = CONNECTIONS.get_ptr_mut(sock) else {
        return;
    };
    // SAFETY: map values stay readable while the program runs.
    let state = unsafe { &mut *state };
    if state.flags & CONN_CLOSED != 0 {
        // The entry is of a socket that was at this address before.
        return;
    }
    state.flags |= CONN_CLOSED;
    unseen(sock, state, old_state);
    if state.flags & CONN_ANNOUNCED != 0 {
        announce(EventKind::ConnClose, 0, sock, state, 0, Wake::Batched);
    } else {
        let _ = CONNECTIONS.remove(sock);
    }
}

/// Tells when TCP moved more than the programs saw. Ciphertext is left out.
#[inline(always)]
fn unseen(sock: u64, state: &ConnState, old_state: i32) {
    let verdict = verdict(sock, state);
    if verdict == Verdict::Ignore as u32 || verdict == Verdict::Counted as u32 {
        return;
    }
    let received = sequence::at_end(sock, false, state.rx_sequence, old_state);
    let sent = sequence::at_end(sock, true, state.tx_sequence, old_state);
    if received > 0 || sent > 0 {
        let counted = ConnState {
            rx_bytes: state.rx_bytes + received,
            tx_bytes: state.tx_bytes + sent,
            ..*state
        };
        let flags = upstream(state);
        announce(EventKind::ConnCounted, flags, sock, &counted, 0, Wake::Batched);
    }
}

/// The verdict in force for a connection: its own, else its listener's when it was made.
#[inline(always)]
pub fn verdict(sock: u64, state: &ConnState) -> u32 {
    // SAFETY: two words are read; a torn pair at worst applies a verdict one event late.
    match unsafe { VERDICTS.get(sock) } {
        Some(own) if own.generation == state.generation => own.verdict,
        _ => state.verdict,
    }
}

/// State of the connection behind `socket`; made at first sight, and anew when the address was reused. None, and counted
/// with the `bytes` of the call, when there is no room.
#[inline(always)]
pub fn connection(socket: &Socket, bytes: u64) -> Option<&'static mut ConnState> {
    if let Some(state) = CONNECTIONS.get_ptr_mut(socket.sock) {
        // SAFETY: map values stay readable while the program runs.
        let state = unsafe { &mut *state };
        if state.inode == socket.inode {
            return Some(state);
        }
        if state.inode == 0 {
            state.inode = socket.inode;
            if state.verdict != Verdict::Ignore as u32 {
                state.flags |= CONN_ANNOUNCED;
                opened(0, socket, state);
            }
            return Some(state);
        }
    }
    join(socket, bytes)
}

/// First sight of a connection that is older than this agent, or of a unix socket. What is on no port that somebody
/// listens on, in a process that serves, was opened by it.
#[inline(always)]
fn join(socket: &Socket, bytes: u64) -> Option<&'static mut ConnState> {
    let mut flags = CONN_ANNOUNCED | CONN_JOINED;
    let verdict = if socket.family == AF_UNIX {
        Verdict::Undecided as u32
    // SAFETY: a copy of one word is read.
    } else if let Some(verdict) = unsafe { LISTENERS.get(local_port(socket.sock)) } {
        *verdict
    } else if serves((bpf_get_current_pid_tgid() >> 32) as u32) {
        flags |= CONN_UPSTREAM;
        Verdict::Undecided as u32
    } else {
        Verdict::Ignore as u32
    };
    let state = fresh(socket.inode, verdict, flags);
    if CONNECTIONS.insert(socket.sock, state, 0).is_err() {
        if verdict != Verdict::Ignore as u32 {
            lost(LossReason::ConnMapFull, bytes);
        }
        return None;
    }
    if verdict != Verdict::Ignore as u32 {
        opened(FLAG_JOINED, socket, &state);
    }
    // SAFETY: map values stay readable while the program runs.
    CONNECTIONS
        .get_ptr_mut(socket.sock)
        .map(|state| unsafe { &mut *state })
}

#[inline(always)]
fn opened(joined: u16, socket: &Socket, state: &ConnState) {
    let flags = joined | upstream(state);
    if socket.family == AF_UNIX {
        announce_named(EventKind::ConnOpen, flags, socket.sock, state);
    } else {
        announce(EventKind::ConnOpen, flags, socket.sock, state, 0, Wake::Batched);
    }
}

/// The event flag of a connection that the watched process opened.
#[inline(always)]
fn upstream(state: &ConnState) -> u16 {
    if state.flags & CONN_UPSTREAM != 0 {
        FLAG_UPSTREAM
    } else {
        0
    }
}
