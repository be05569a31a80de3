//! The kernel programs: loaded, attached, read and told what to watch.
//!
//! In: the embedded BPF object and the kernel's BTF. Out: raw event bytes in order, counters. Never: parsing
//! of what was captured; a failure to load says what is missing and what to do.

mod kprobe;
mod offsets;
mod returns;
mod tls;
mod transport;

use crate::capture::btf::{Btf, BtfError};
use crate::config::CapturePath;
use crate::pipeline::tls::SessionId;
use audit_common::abi::ConnKey;
use audit_common::config::{
    ConnState, ConnVerdict, Offsets, PROCESS_SERVES, PROCESS_TLS, PROCESS_WATCHED, Syscalls, TlsId,
    TlsSession, Verdict,
};
use audit_common::loss::{LOSS_REASONS, LossCounters, LossReason};
use aya::maps::{HashMap, MapData, MapError, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::{ProgramError, RawTracePoint, TracePoint};
use aya::{Ebpf, EbpfError, EbpfLoader, Pod};
use std::os::fd::{AsFd, BorrowedFd};
use thiserror::Error;

/// The object that `cargo xtask build` made, or nothing when it was not there at compile time.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/audit-ebpf.o"));

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Raw tracepoint programs: the program's name is the tracepoint's.
pub const RAW_TRACEPOINTS: [&str; 4] = [
    "inet_sock_set_state",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
];

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("this binary was built without the kernel programs; build it with `cargo xtask build`")]
    NoObject,
    #[error(
        "cannot read the kernel's type information {BTF_PATH}: {0}; a kernel with CONFIG_DEBUG_INFO_BTF=y is needed \
         (every distribution kernel since 5.10 has it), and the right to read it"
    )]
    NoBtf(#[source] std::io::Error),
    #[error("cannot use the kernel's type information: {0}; please report this kernel's version")]
    Btf(#[from] BtfError),
    #[error(
        "the kernel refused the programs: {0}; run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE \
         (`audit-agent doctor` checks the rest)"
    )]
    Load(#[from] EbpfError),
    #[error(
        "cannot attach to the tracepoint `{name}`: {source}; `audit-agent doctor` tells what this kernel has"
    )]
    Attach {
        name: &'static str,
        source: ProgramError,
    },
    #[error(
        "this kernel's `{function}` has {parameters} parameters, which this version does not know; set \
         `capture.path = \"tracepoint\"`"
    )]
    Prototype { function: &'static str, parameters: u32 },
    #[error("cannot use the map `{name}`: {source}")]
    Map { name: &'static str, source: MapError },
    #[error("the embedded object has no `{0}`; build it again with `cargo xtask build`")]
    Missing(&'static str),
}

/// Gives a layout of `audit-common` the marker that aya asks of map values.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Raw<T: Copy + 'static>(T);

// SAFETY: the layouts are `repr(C)` of integers without padding, so every byte is initialised and any bytes are a value.
unsafe impl Pod for Raw<Offsets> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<Syscalls> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<ConnState> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<ConnVerdict> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<LossCounters> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<TlsId> {}
// SAFETY: as for `Offsets`.
unsafe impl Pod for Raw<TlsSession> {}

fn tls_id(id: SessionId) -> TlsId {
    TlsId {
        object: id.session.sock,
        pid: id.pid,
        reserved: 0,
    }
}

/// Sizes of the kernel side's maps.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// A power of two.
    pub ring_bytes: u32,
    /// Connections that are followed at once.
    pub connections: u32,
}

/// The attached programs and their maps. Dropping it detaches everything.
pub struct Kernel {
    /// Holds the links.
    programs: Ebpf,
    probes: tls::Probes,
    /// Hold the programs that others go over to.
    _steps: Vec<ProgramArray<MapData>>,
    /// Of the kprobe path.
    returns: Option<returns::Returns>,
    path: CapturePath,
    events: RingBuf<MapData>,
    processes: HashMap<MapData, u32, u32>,
    listeners: HashMap<MapData, u32, u32>,
    connections: HashMap<MapData, u64, Raw<ConnState>>,
    verdicts: HashMap<MapData, u64, Raw<ConnVerdict>>,
    loss: PerCpuArray<MapData, Raw<LossCounters>>,
    tls_sessions: HashMap<MapData, Raw<TlsId>, Raw<TlsSession>>,
    tls_verdicts: HashMap<MapData, Raw<TlsId>, Raw<ConnVerdict>>,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel").finish_non_exhaustive()
    }
}

/// Whether the kernel programs are in this binary.
pub fn has_object() -> bool {
    !OBJECT.is_empty()
}

impl Kernel {
    /// Loads and attaches everything; `sizes` are checked by the configuration. With [`CapturePath::Auto`] the transport functions are
    /// taken where this kernel lets them be, else the system calls.
    pub fn load(sizes: Sizes, path: CapturePath) -> Result<Self, LoadError> {
        if !has_object() {
            return Err(LoadError::NoObject);
        }
        if path != CapturePath::Auto {
            return Self::load_path(sizes, path);
        }
        Self::load_path(sizes, CapturePath::Fentry)
            .or_else(|error| {
                tracing::debug!(%error, "the transport functions have no trampolines, so kprobes are tried");
                Self::load_path(sizes, CapturePath::Kprobe)
            })
            .or_else(|error| {
                tracing::debug!(%error, "the transport functions cannot be attached to, so the system calls are");
                Self::load_path(sizes, CapturePath::Tracepoint)
            })
    }

    /// What bytes are seen by.
    pub fn path(&self) -> CapturePath {
        self.path
    }

    fn load_path(sizes: Sizes, path: CapturePath) -> Result<Self, LoadError> {
        let resolved = resolve()?;
        let (offsets, syscalls) = (Raw(resolved.offsets), Raw(offsets::syscalls()));
        let mut programs = EbpfLoader::new()
            .btf(None)
            .override_global("OFFSETS", &offsets, true)
            .override_global("SYSCALLS", &syscalls, true)
            .map_max_entries("EVENTS", sizes.ring_bytes)
            .map_max_entries("CONNECTIONS", sizes.connections)
            .map_max_entries("VERDICTS", sizes.connections)
            .load(OBJECT)?;
        let mut tls_steps = map(&mut programs, "TLS_STEPS", ProgramArray::try_from)?;
        tls::load(&mut programs, &mut tls_steps)?;
        let mut returns = None;
        let mut steps = match path {
            CapturePath::Fentry => transport::attach(&mut programs, resolved.recvmsg_parameters)?,
            CapturePath::Kprobe => {
                let (walk, probes) =
                    kprobe::attach(&mut programs, resolved.recvmsg_parameters, resolved.has_sendpage)?;
                returns = Some(probes);
                vec![walk]
            }
            CapturePath::Tracepoint | CapturePath::Auto => vec![attach_syscalls(&mut programs)?],
        };
        steps.push(tls_steps);
        attach(&mut programs)?;
        Ok(Self {
            events: map(&mut programs, "EVENTS", RingBuf::try_from)?,
            processes: map(&mut programs, "PROCESSES", HashMap::try_from)?,
            listeners: map(&mut programs, "LISTENERS", HashMap::try_from)?,
            connections: map(&mut programs, "CONNECTIONS", HashMap::try_from)?,
            verdicts: map(&mut programs, "VERDICTS", HashMap::try_from)?,
            loss: map(&mut programs, "LOSS", PerCpuArray::try_from)?,
            tls_sessions: map(&mut programs, "TLS_SESSIONS", HashMap::try_from)?,
            tls_verdicts: map(&mut programs, "TLS_VERDICTS", HashMap::try_from)?,
            _steps: steps,
            returns,
            path,
            probes: tls::Probes::default(),
            programs,
        })
    }

    /// Name and, since Linux 5.16, the number of instructions that the verifier looked at of every loaded program.
    pub fn programs(&self) -> Vec<(String, Option<u32>)> {
        let loaded = self.programs.programs().filter_map(|(name, program)| {
            let info = program.info().ok()?;
            Some((name.to_owned(), info.verified_instruction_count()))
        });
        let mut programs: Vec<_> = loaded.collect();
        programs.sort();
        programs
    }

    /// Becomes readable when the kernel side thinks that reading is worth it.
    pub fn readiness(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Hands up to `most` events to `each`, oldest first; gives how many there were.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> usize {
        for count in 0..most {
            match self.events.next() {
                Some(event) => each(&event),
                None => return count,
            }
        }
        most
    }

    /// Puts a process that listens, or inherited a listening socket, on the allow-list.
    pub fn watch_process(&mut self, pid: u32) -> Result<(), MapError> {
        self.processes.insert(pid, PROCESS_WATCHED | PROCESS_SERVES, 0)
    }

    /// Whether the connections that a process opens itself are looked at. A process that is not on the allow-list is
    /// left out.
    pub fn follow_upstream(&mut self, pid: u32, follow: bool) -> Result<(), MapError> {
        match self.processes.get(&pid, 0) {
            Ok(flags) if follow => self.processes.insert(pid, flags | PROCESS_SERVES, 0),
            Ok(flags) => self.processes.insert(pid, flags & !PROCESS_SERVES, 0),
            Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A TLS library of the process is probed: its threads' sockets are noted too. A process that is not on the
    /// allow-list is left out.
    pub fn watch_tls(&mut self, pid: u32) -> Result<(), MapError> {
        match self.processes.get(&pid, 0) {
            Ok(flags) if flags & PROCESS_TLS == 0 => self.processes.insert(pid, flags | PROCESS_TLS, 0),
            Ok(_) | Err(MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets the verdict for one TLS session.
    pub fn set_tls_verdict(&mut self, id: SessionId, verdict: Verdict) -> Result<(), MapError> {
        let value = ConnVerdict {
            generation: id.session.generation,
            verdict: verdict as u32,
            reserved: 0,
        };
        self.tls_verdicts.insert(Raw(tls_id(id)), Raw(value), 0)
    }

    /// Plaintext bytes read and written on a TLS session as the kernel side counted them.
    pub fn tls_counted(&self, id: SessionId) -> Option<(u64, u64)> {
        let session = self.tls_sessions.get(&Raw(tls_id(id)), 0).ok()?.0;
        (session.generation == id.session.generation).then_some((session.rx_bytes, session.tx_bytes))
    }

    /// Frees the state of a TLS session that is over.
    pub fn forget_tls(&mut self, id: SessionId) {
        if self.tls_counted(id).is_some() {
            let _ = self.tls_sessions.remove(&Raw(tls_id(id)));
            let _ = self.tls_verdicts.remove(&Raw(tls_id(id)));
        }
    }

    /// Sets the verdict for connections that `port` will accept.
    pub fn set_listener(&mut self, port: u16, verdict: Verdict) -> Result<(), MapError> {
        self.listeners.insert(u32::from(port), verdict as u32, 0)
    }

    /// Sets the verdict for one connection.
    pub fn set_verdict(&mut self, conn: ConnKey, verdict: Verdict) -> Result<(), MapError> {
        let value = ConnVerdict {
            generation: conn.generation,
            verdict: verdict as u32,
            reserved: 0,
        };
        self.verdicts.insert(conn.sock, Raw(value), 0)
    }

    /// Bytes received and sent on a connection as the kernel counted them.
    pub fn counted(&self, conn: ConnKey) -> Option<(u64, u64)> {
        let state = self.connections.get(&conn.sock, 0).ok()?.0;
        (state.generation == conn.generation).then_some((state.rx_bytes, state.tx_bytes))
    }

    /// Frees the state of a connection that is over.
    pub fn forget(&mut self, conn: ConnKey) {
        if self.counted(conn).is_some() {
            let _ = self.connections.remove(&conn.sock);
            let _ = self.verdicts.remove(&conn.sock);
        }
    }

    /// Loss counters since load, summed over the CPUs.
    pub fn losses(&self) -> Result<LossCounters, MapError> {
        let mut sum = LossCounters::default();
        for Raw(cpu) in self.loss.get(&0, 0)?.iter() {
            for reason in 0..LOSS_REASONS {
                sum.events[reason] += cpu.events[reason];
                sum.bytes[reason] += cpu.bytes[reason];
            }
        }
        if let Some(returns) = &self.returns {
            sum.events[LossReason::ReturnMissed as usize] += returns.missed();
        }
        Ok(sum)
    }
}

/// Empty programs at entry and exit of read and write: the least that capture by such a pair can cost.
pub fn attach_floor() -> Result<Ebpf, LoadError> {
    let name = "nothing";
    let mut programs = EbpfLoader::new()
        .btf(None)
        .map_max_entries("EVENTS", 4096)
        .load(OBJECT)?;
    let program: &mut TracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    program
        .load()
        .map_err(|source| LoadError::Attach { name, source })?;
    for tracepoint in [
        "sys_enter_read",
        "sys_exit_read",
        "sys_enter_write",
        "sys_exit_write",
    ] {
        let attached = program.attach("syscalls", tracepoint);
        attached.map_err(|source| LoadError::Attach { name, source })?;
    }
    Ok(programs)
}

/// What the kernel's type information says.
struct Resolved {
    offsets: Offsets,
    /// How many parameters `tcp_recvmsg` has.
    recvmsg_parameters: u32,
    /// Whether there is `tcp_sendpage`.
    has_sendpage: bool,
}

/// Reads the kernel's BTF and gives its memory back before anything else is allocated.
fn resolve() -> Result<Resolved, LoadError> {
    let blob = std::fs::read(BTF_PATH).map_err(LoadError::NoBtf)?;
    let btf = Btf::parse(&blob)?;
    Ok(Resolved {
        offsets: offsets::resolve(&btf)?,
        recvmsg_parameters: btf.parameters("tcp_recvmsg").unwrap_or(0),
        has_sendpage: btf.parameters("tcp_sendpage").is_some(),
    })
}

/// The programs that `sys_exit` goes over to, in the order of their places in the map.
const SYSCALL_STEPS: [&str; 3] = ["stream_steps", "message_lengths", "message_bytes"];

/// Loads the programs that copy buffers and makes them the targets of the tail calls.
fn link_steps(programs: &mut Ebpf, steps: &mut ProgramArray<MapData>) -> Result<(), LoadError> {
    for (index, name) in (0..).zip(SYSCALL_STEPS) {
        let program: &mut RawTracePoint = programs
            .program_mut(name)
            .and_then(|p| p.try_into().ok())
            .ok_or(LoadError::Missing(name))?;
        let refused = |source| LoadError::Attach { name, source };
        program.load().map_err(refused)?;
        let fd = program.fd().map_err(refused)?;
        steps.set(index, fd, 0).map_err(|source| LoadError::Map {
            name: "STEPS",
            source,
        })?;
    }
    Ok(())
}

fn attach(programs: &mut Ebpf) -> Result<(), LoadError> {
    RAW_TRACEPOINTS
        .iter()
        .try_for_each(|name| attach_raw(programs, name))
}

fn attach_raw(programs: &mut Ebpf, name: &'static str) -> Result<(), LoadError> {
    let program: &mut RawTracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    let attached = program.load().and_then(|()| program.attach(name));
    attached
        .map(drop)
        .map_err(|source| LoadError::Attach { name, source })
}

/// The path that works on every kernel; gives the map of the program that `sys_exit` goes over to.
fn attach_syscalls(programs: &mut Ebpf) -> Result<ProgramArray<MapData>, LoadError> {
    let mut steps = map(programs, "STEPS", ProgramArray::try_from)?;
    link_steps(programs, &mut steps)?;
    attach_raw(programs, "sys_exit")?;
    let name = "sys_exit_listen";
    let program: &mut TracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    let attached = program.load().and_then(|()| program.attach("syscalls", name));
    attached.map_err(|source| LoadError::Attach { name, source })?;
    Ok(steps)
}

fn map<T>(
    programs: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(aya::maps::Map) -> Result<T, MapError>,
) -> Result<T, LoadError> {
    let map = programs.take_map(name).ok_or(LoadError::Missing(name))?;
    convert(map).map_err(|source| LoadError::Map { name, source })
}
