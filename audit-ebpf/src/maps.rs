//! Every map and global of the kernel side, with the reason for its size.

use crate::probes::go::{GoCall, Goroutine};
use crate::probes::stream::Scratch;
use crate::probes::tls::Thread;
use crate::probes::transport::TransportCall;
use audit_common::abi::{ARGV_MAX, ConnEvent, ProcessEvent};
use audit_common::config::{ConnState, ConnVerdict, Offsets, Syscalls, TlsId, TlsSession};
use audit_common::loss::LossCounters;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf};

/// All events, in one order. The loader sets the size (a power of two); 16 MiB hold about 150 ms of a
/// saturated loopback server.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(16 * 1024 * 1024, 0);

/// Processes that listen on a stream socket, or inherited one: the allow-list that makes everything else
/// cost one look-up. 16 Ki processes with a listener are more than a host runs.
#[map]
pub static PROCESSES: HashMap<u32, u32> = HashMap::with_max_entries(16 * 1024, 0);

/// Verdict by local TCP port; a port that nobody listens on is absent.
#[map]
pub static LISTENERS: HashMap<u32, u32> = HashMap::with_max_entries(4 * 1024, 0);

/// Connections of watched listeners, by `struct sock` address. 64 bytes each.
#[map]
pub static CONNECTIONS: HashMap<u64, ConnState> = HashMap::with_max_entries(32 * 1024, 0);

/// What userspace judged of single connections. Apart from [`CONNECTIONS`], since a write from userspace
/// replaces a whole value and would undo counts that the kernel made meanwhile.
#[map]
pub static VERDICTS: HashMap<u64, ConnVerdict> = HashMap::with_max_entries(32 * 1024, 0);

/// Connects under way to a watched port: `struct sock` to pid and tid, from SYN_SENT to ESTABLISHED.
#[map]
pub static CONNECTING: HashMap<u64, u64> = HashMap::with_max_entries(8 * 1024, 0);

/// What did not reach the ring buffer, counted where it happened.
#[map]
pub static LOSS: PerCpuArray<LossCounters> = PerCpuArray::with_max_entries(1, 0);

/// Where the program at the end of system calls puts data events together: no other one uses it, and the kernel does not run one
/// program twice at a time on a CPU.
#[map]
pub static DATA: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Threads inside a TLS library call, and the socket that each read last.
#[map]
pub static TLS_THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(16 * 1024, 0);

/// Goroutines inside a function of `crypto/tls`. One that never returns is forgotten when others need its room.
#[map]
pub static GO_CALLS: LruHashMap<Goroutine, GoCall> = LruHashMap::with_max_entries(16 * 1024, 0);

/// TLS sessions of watched processes. 64 bytes each.
#[map]
pub static TLS_SESSIONS: HashMap<TlsId, TlsSession> = HashMap::with_max_entries(32 * 1024, 0);

/// What userspace judged of single TLS sessions.
#[map]
pub static TLS_VERDICTS: HashMap<TlsId, ConnVerdict> = HashMap::with_max_entries(32 * 1024, 0);

/// Where programs that can be preempted by one another on a CPU (uprobes, fexit) put data events together: a place is
/// claimed in [`PLACES_BUSY`].
#[map]
pub static PLACES: Array<Scratch> = Array::with_max_entries(PLACE_COUNT, 0);

/// Which places are in use. An insert that must not find the key is a claim that works without the atomics that Linux
/// 5.10 lacks.
#[map]
pub static PLACES_BUSY: HashMap<u32, u32> = HashMap::with_max_entries(2 * PLACE_COUNT, 0);

/// Calls that can be copied at one moment: more than are preempted in the middle of it.
pub const PLACE_COUNT: u32 = 64;

/// Calls of the transport functions that are under way, by thread.
#[map]
pub static CALLS: HashMap<u32, TransportCall> = HashMap::with_max_entries(16 * 1024, 0);

/// Index 0 of each: the program that walks on behind that function. The kernel wants programs of one kind, and for fexit
/// of one function's arguments, in a map.
#[map]
pub static TCP_SENDMSG_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static TCP_RECVMSG_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static UNIX_SENDMSG_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static UNIX_RECVMSG_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static TCP_SENDPAGE_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
pub static UNIX_SENDPAGE_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The same behind every kretprobe: those see registers, whatever the function.
#[map]
pub static KRETPROBE_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// Index 0: the program that walks on in a TLS library call.
#[map]
pub static TLS_STEPS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What `sys_exit` goes over to; the loader puts the programs there.
#[map]
pub static STEPS: ProgramArray = ProgramArray::with_max_entries(3, 0);

/// A unix connection that was opened.
#[repr(C)]
pub struct NamedConn {
    pub event: ConnEvent,
    /// Of the socket; the slack is the verifier's.
    pub name: [u8; UNIX_NAME_MASK as usize + 1],
}

/// Bounds the length of a name; see `UNIX_NAME_MAX`.
pub const UNIX_NAME_MASK: u32 = 127;

/// Bytes of an executed file's name that are kept.
pub const FILENAME_MAX: usize = 256;

#[repr(C)]
pub struct ProcessScratch {
    pub event: ProcessEvent,
    /// File name and argv, one behind the other; the slack is the verifier's.
    pub payload: [u8; FILENAME_MAX + 2 * ARGV_MAX],
}

/// Where an exec is put together: one program does that, as with [`DATA`].
#[map]
pub static PROCESS: PerCpuArray<ProcessScratch> = PerCpuArray::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ZERO;

#[unsafe(no_mangle)]
static SYSCALLS: Syscalls = Syscalls::ZERO;

/// Offsets that the loader resolved.
#[inline(always)]
pub fn offsets() -> &'static Offsets {
    // SAFETY: only hides the initial value from the compiler: the loader replaces the section before the
    // program is verified, and nothing writes it afterwards (the map is frozen).
    unsafe { &*core::hint::black_box(&raw const OFFSETS) }
}

/// System call numbers of this machine.
#[inline(always)]
pub fn syscalls() -> &'static Syscalls {
    // SAFETY: as for `offsets`.
    unsafe { &*core::hint::black_box(&raw const SYSCALLS) }
}
