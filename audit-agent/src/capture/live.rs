//! The kernel programs: loaded, attached, read and told what to watch.
//!
//! In: the embedded BPF object and the kernel's BTF. Out: raw event bytes in order, counters. Never: parsing
//! of what was captured; a failure to load says what is missing and what to do.

mod floor;
mod kprobe;
mod offsets;
mod preemption;
mod refusal;
mod returns;
pub mod ring;
mod skipped;
mod syscalls;
mod tls;
mod transport;

pub use floor::attach_floor;
pub use refusal::LoadError;

use crate::config::CapturePath;
use crate::pipeline::tls::SessionId;
use audit_common::abi::ConnKey;
use audit_common::config::{
    ConnState, ConnVerdict, Offsets, PROCESS_SERVES, PROCESS_TLS, PROCESS_WATCHED, Syscalls, TlsId,
    TlsSession, Verdict,
};
use audit_common::loss::{LOSS_REASONS, LossCounters, LossReason};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, ProgramArray};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader, Pod};
use std::os::fd::{AsFd, BorrowedFd};

/// The object that `cargo xtask build` made, or nothing when it was not there at compile time.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/audit-ebpf.o"));

/// Raw tracepoint programs of every path, and their tracepoints. States of sockets are looked at by two, of which the kernel
/// leaves out one at most.
const RAW_TRACEPOINTS: [(&str, &str); 5] = [
    (skipped::TWINS[0], "inet_sock_set_state"),
    (skipped::TWINS[1], "inet_sock_set_state"),
    ("sched_process_fork", "sched_process_fork"),
    ("sched_process_exec", "sched_process_exec"),
    ("sched_process_exit", "sched_process_exit"),
];

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
    /// Read by whoever gets a copy of its descriptor.
    events: MapData,
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
        let mut result = Err(LoadError::NoObject);
        for &path in candidates(path, preemption::is_possible()) {
            result = Self::load_path(sizes, path);
            match &result {
                Ok(_) => break,
                Err(error) => tracing::debug!(%error, path = path.name(), "this capture path cannot be had"),
            }
        }
        result
    }

    /// Whether this kernel may leave out runs of the programs on the path that was taken.
    pub fn may_skip(&self) -> bool {
        preemption::leaves_out(self.path)
    }

    /// What bytes are seen by.
    pub fn path(&self) -> CapturePath {
        self.path
    }

    fn load_path(sizes: Sizes, path: CapturePath) -> Result<Self, LoadError> {
        let resolved = offsets::of_this_kernel()?;
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
            CapturePath::Tracepoint | CapturePath::Auto => vec![syscalls::attach(&mut programs)?],
        };
        steps.push(tls_steps);
        attach(&mut programs)?;
        Ok(Self {
            events: ring_buffer(&mut programs)?,
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

    /// The ring buffer of events, for [`ring::Events`].
    pub fn events(&self) -> BorrowedFd<'_> {
        self.events.fd().as_fd()
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
        sum.events[LossReason::ProgramSkipped as usize] += skipped::count(&self.programs);
        Ok(sum)
    }
}

/// The paths to try, the best first. Trampolines cost less than kprobes, but a kernel that can be preempted leaves out runs of their
/// programs.
fn candidates(asked: CapturePath, preemptible: bool) -> &'static [CapturePath] {
    match asked {
        CapturePath::Fentry => &[CapturePath::Fentry],
        CapturePath::Kprobe => &[CapturePath::Kprobe],
        CapturePath::Tracepoint => &[CapturePath::Tracepoint],
        CapturePath::Auto if preemptible => {
            &[CapturePath::Kprobe, CapturePath::Fentry, CapturePath::Tracepoint]
        }
        CapturePath::Auto => &[CapturePath::Fentry, CapturePath::Kprobe, CapturePath::Tracepoint],
    }
}

fn attach(programs: &mut Ebpf) -> Result<(), LoadError> {
    RAW_TRACEPOINTS
        .iter()
        .try_for_each(|(name, tracepoint)| attach_raw(programs, name, tracepoint))
}

fn attach_raw(programs: &mut Ebpf, name: &'static str, tracepoint: &str) -> Result<(), LoadError> {
    let program: &mut RawTracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    let attached = program.load().and_then(|()| program.attach(tracepoint));
    attached
        .map(drop)
        .map_err(|source| LoadError::Attach { name, source })
}

fn map<T>(
    programs: &mut Ebpf,
    name: &'static str,
    convert: impl FnOnce(Map) -> Result<T, MapError>,
) -> Result<T, LoadError> {
    let map = programs.take_map(name).ok_or(LoadError::Missing(name))?;
    convert(map).map_err(|source| LoadError::Map { name, source })
}

/// The ring buffer is not mapped here: who reads it maps it.
fn ring_buffer(programs: &mut Ebpf) -> Result<MapData, LoadError> {
    match programs.take_map("EVENTS") {
        Some(Map::RingBuf(events)) => Ok(events),
        _ => Err(LoadError::Missing("EVENTS")),
    }
}
