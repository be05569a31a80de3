//! What TLS libraries decrypt and are about to encrypt, and which socket it belongs to.
//!
//! In: uprobes at entry and return of the libraries' read and write functions. Out: data events of TLS sessions, and
//! which socket a session uses. A session is tied to the socket that the same thread uses inside the library call, or,
//! where the program moves the ciphertext itself (memory BIOs), to the one that the thread read last before. Never: a
//! guess between two sockets; what is contradictory is sent as it is, and userspace declares it.

use super::memory::Memory;
use super::place;
use super::stream::{Call, claim};
use crate::emit::{Wake, header, lost, now, send};
use crate::kernel::{call_result, read_user};
use crate::maps::{PROCESSES, TLS_SESSIONS, TLS_STEPS, TLS_THREADS, TLS_VERDICTS};
use audit_common::abi::{
    ConnKey, EventKind, FLAG_INSIDE, FLAG_JOINED, FLAG_TX, Shortfall, TLS_LEN, TlsEvent,
};
use audit_common::config::{PROCESS_TLS, TlsId, TlsSession as Session, Verdict};
use audit_common::loss::LossReason;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::uretprobe;
use aya_ebpf::programs::RetProbeContext;

pub const NO_SOCKET: ConnKey = ConnKey {
    sock: 0,
    generation: 0,
};

/// What a thread does with TLS.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Thread {
    /// The object of the library call under way, 0 outside of one.
    object: u64,
    buffer: u64,
    /// Where the `_ex` functions put how many bytes it were, else 0.
    length_at: u64,
    /// The socket that was used inside the call.
    inside: ConnKey,
    /// The socket that was read last outside of a call, and which object was handed its bytes.
    last: ConnKey,
    taken_by: u64,
    /// Place in `PLACES` while a call's bytes are copied.
    place: u64,
}

#[inline(always)]
fn tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// A session's key in the maps; None in a process that is not watched.
#[inline(always)]
pub fn id(object: u64) -> Option<TlsId> {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let flags = PROCESSES.get_ptr_mut(pid)?;
    // The probes are in the file, so they may fire before userspace knows that this process has mapped it.
    // SAFETY: map values stay readable while the program runs; a flag that another CPU sets meanwhile may be lost.
    unsafe { *flags |= PROCESS_TLS };
    Some(TlsId {
        object,
        pid,
        reserved: 0,
    })
}

/// A system call of this thread moved bytes of `conn`.
#[inline(always)]
pub fn socket_used(conn: ConnKey, sent: bool) {
    let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) else {
        if !sent {
            let mut thread = Thread::outside();
            thread.last = conn;
            let _ = TLS_THREADS.insert(tid(), thread, 0);
        }
        return;
    };
    // SAFETY: map values stay readable while the program runs, and only this thread uses its own.
    let thread = unsafe { &mut *thread };
    if thread.object != 0 {
        thread.inside = conn;
    } else if !sent {
        thread.last = conn;
        thread.taken_by = 0;
    }
}

impl Thread {
    #[inline(always)]
    fn outside() -> Self {
        Self {
            object: 0,
            buffer: 0,
            length_at: 0,
            inside: NO_SOCKET,
            last: NO_SOCKET,
            taken_by: 0,
            place: 0,
        }
    }
}

/// Whether the current process is watched. From its first call on its sockets are tied to its sessions: the library may
/// have been probed for another process, and this one may be younger than what userspace knows.
#[inline(always)]
fn is_watched() -> bool {
    let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(flags) = PROCESSES.get_ptr_mut(pid) else {
        return false;
    };
    // SAFETY: map values stay readable while the program runs; a flag that is lost to another thread is set again.
    let flags = unsafe { &mut *flags };
    if *flags & PROCESS_TLS == 0 {
        *flags |= PROCESS_TLS;
    }
    true
}

/// A library call begins: its object, its buffer, where it will put how many bytes it were.
#[inline(always)]
pub fn enter(object: u64, buffer: u64, length_at: u64) {
    if !is_watched() {
        return;
    }
    if let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) {
        // SAFETY: as in `socket_used`.
        let thread = unsafe { &mut *thread };
        thread.object = object;
        thread.buffer = buffer;
        thread.length_at = length_at;
        thread.inside = NO_SOCKET;
        return;
    }
    let mut thread = Thread::outside();
    thread.object = object;
    thread.buffer = buffer;
    thread.length_at = length_at;
    if TLS_THREADS.insert(tid(), thread, 0).is_err() {
        lost(LossReason::ScratchBusy, 0);
    }
}

/// As [`begin`], of the object that the call under way was to put into its buffer.
#[inline(always)]
pub fn begin_where_told() {
    if let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) {
        // SAFETY: as in `socket_used`.
        begin(read_user(unsafe { (*thread).buffer }));
    }
}

#[inline(always)]
pub fn begin(object: u64) {
    if object != 0
        && let Some(id) = id(object)
    {
        let _ = TLS_SESSIONS.insert(id, new_session(0), 0);
    }
}

/// The session's object is gone.
#[inline(always)]
pub fn end(object: u64) {
    let Some(id) = id(object) else { return };
    // SAFETY: map values stay readable while the program runs.
    if let Some(session) = unsafe { TLS_SESSIONS.get(id) } {
        let session = *session;
        tell(EventKind::TlsClose, id.object, &session, 0);
        let _ = TLS_SESSIONS.remove(id);
        let _ = TLS_VERDICTS.remove(id);
    }
}

#[inline(always)]
fn new_session(joined: u64) -> Session {
    Session {
        generation: now(),
        rx_bytes: 0,
        tx_bytes: 0,
        conn: NO_SOCKET,
        joined,
    }
}

/// A library call returned.
#[inline(always)]
pub fn leave(ctx: &RetProbeContext, sent: bool) {
    let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) else {
        return;
    };
    // SAFETY: as in `socket_used`.
    let thread = unsafe { &mut *thread };
    let object = thread.object;
    if object == 0 {
        return;
    }
    thread.object = 0;
    let result = call_result(ctx) as i32;
    let bytes = match (result, thread.length_at) {
        (i32::MIN..=0, _) => 0,
        (_, 0) => result as u64,
        (_, at) => read_user::<u64>(at),
    };
    let (conn, inside) = used(thread, object, sent);
    let Some(id) = id(object) else { return };
    let Some(session) = session(id) else { return };
    if bytes > 0 || inside {
        uses(object, session, conn, inside);
    }
    if bytes > 0 {
        moved(ctx, id, session, thread, bytes, sent);
    }
}

/// The session's ciphertext is on `conn`, if that is one: said when it is news.
#[inline(always)]
pub fn uses(object: u64, session: &mut Session, conn: ConnKey, inside: bool) {
    if conn.sock != 0 && conn != session.conn {
        session.conn = conn;
        let flags = if inside { FLAG_INSIDE } else { 0 };
        tell(EventKind::TlsSocket, object, session, flags);
    }
}

/// As [`moved`], for calls that are not followed by thread.
#[inline(always)]
pub fn moved_by_thread(
    ctx: &impl EbpfContext,
    id: TlsId,
    session: &mut Session,
    buffer: u64,
    bytes: u64,
    sent: bool,
) {
    if TLS_THREADS.get_ptr_mut(tid()).is_none() {
        let _ = TLS_THREADS.insert(tid(), Thread::outside(), 0);
    }
    let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) else {
        lost(LossReason::ScratchBusy, bytes);
        return;
    };
    // SAFETY: as in `socket_used`.
    let thread = unsafe { &mut *thread };
    thread.buffer = buffer;
    moved(ctx, id, session, thread, bytes, sent);
}

/// The socket that the call's bytes came from or went to, and whether it was used inside of the call. Bytes that were
/// read before a call belong to the first object that is called after it.
#[inline(always)]
fn used(thread: &mut Thread, object: u64, sent: bool) -> (ConnKey, bool) {
    if thread.inside.sock != 0 {
        return (thread.inside, true);
    }
    if sent {
        return (NO_SOCKET, false);
    }
    if thread.taken_by == 0 {
        thread.taken_by = object;
    }
    if thread.taken_by == object {
        (thread.last, false)
    } else {
        (NO_SOCKET, false)
    }
}

#[inline(always)]
pub fn session(id: TlsId) -> Option<&'static mut Session> {
    if TLS_SESSIONS.get_ptr_mut(id).is_none() && TLS_SESSIONS.insert(id, new_session(1), 0).is_err() {
        lost(LossReason::ConnMapFull, 0);
        return None;
    }
    // SAFETY: map values stay readable while the program runs; a session is used by one thread at a time.
    TLS_SESSIONS
        .get_ptr_mut(id)
        .map(|session| unsafe { &mut *session })
}

#[inline(always)]
fn verdict(id: TlsId, session: &Session) -> u32 {
    // SAFETY: two words are read; a torn pair at worst applies a verdict one event late.
    match unsafe { TLS_VERDICTS.get(id) } {
        Some(own) if own.generation == session.generation => own.verdict,
        _ => Verdict::Undecided as u32,
    }
}

/// `bytes` of plaintext are in the call's buffer.
#[inline(always)]
fn moved(
    ctx: &impl EbpfContext,
    id: TlsId,
    session: &mut Session,
    thread: &mut Thread,
    bytes: u64,
    sent: bool,
) {
    let verdict = verdict(id, session);
    let counter = if sent {
        &mut session.tx_bytes
    } else {
        &mut session.rx_bytes
    };
    let offset = claim(counter, bytes);
    if verdict == Verdict::Ignore as u32 {
        return;
    }
    let Some((place, scratch)) = place::claim() else {
        // The next event's offset shows the hole.
        lost(LossReason::ScratchBusy, bytes);
        return;
    };
    thread.place = u64::from(place);
    let joined = if session.joined != 0 { FLAG_JOINED } else { 0 };
    let call = Call {
        kind: EventKind::TlsData,
        key: ConnKey {
            sock: id.object,
            generation: session.generation,
        },
        flags: joined | if sent { FLAG_TX } else { 0 },
        head_only: verdict == Verdict::HeadOnly as u32,
    };
    call.prepare(scratch, offset, Memory::buffer(thread.buffer, bytes), bytes);
    // SAFETY: the map holds programs of this type only. It comes back only when it fails.
    let _ = unsafe { TLS_STEPS.tail_call(ctx, 0) };
    call.missing(scratch, offset, bytes, Shortfall::CallTooLarge);
    place::release(place);
}

/// The walk of a library call; not attached to anything, the return probes go over to it.
#[uretprobe]
pub fn tls_steps(ctx: RetProbeContext) -> u32 {
    let Some(thread) = TLS_THREADS.get_ptr_mut(tid()) else {
        return 0;
    };
    // SAFETY: as in `socket_used`.
    let place = unsafe { (*thread).place } as u32;
    let Some(scratch) = place::at(place) else {
        return 0;
    };
    if !scratch.walk() {
        // SAFETY: the map holds programs of this type only. It comes back only when the chain is at its end.
        let _ = unsafe { TLS_STEPS.tail_call(&ctx, 0) };
    }
    scratch.finish();
    place::release(place);
    0
}

#[inline(always)]
fn tell(kind: EventKind, object: u64, session: &Session, flags: u16) {
    let joined = if session.joined != 0 { FLAG_JOINED } else { 0 };
    let event = TlsEvent {
        header: header(kind, flags | joined, TLS_LEN),
        session: ConnKey {
            sock: object,
            generation: session.generation,
        },
        conn: session.conn,
        rx_bytes: session.rx_bytes,
        tx_bytes: session.tx_bytes,
    };
    // SAFETY: the event is exactly its length.
    unsafe { send((&raw const event).cast(), TLS_LEN as u64, 0, Wake::Batched) };
}
