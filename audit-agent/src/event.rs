//! The only way into the pure core: kernel events and facts about the host, in one order.
//!
//! In: decoded kernel events, facts that an edge looked up. Out: [`Input`], which a capture file can hold.
//! Never: a lookup of its own.

use audit_common::decode::Event;
use serde::{Deserialize, Serialize};

/// One step of the pipeline.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    Kernel(Event<'a>),
    Host(HostFact),
}

/// A process is its pid and its start time; a pid alone is reused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ProcessId {
    pub pid: u32,
    /// Start in nanoseconds of boot time, rounded down to a clock tick (10 ms).
    pub start_ns: u64,
}

/// Who a process is. Absent values could not be read, most often because it had ended.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ProcessFact {
    pub pid: u32,
    pub start_ns: u64,
    pub parent_pid: Option<u32>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    pub comm: String,
    /// In its own mount namespace.
    pub exe: Option<String>,
    /// Lower-case hex; of the file that runs, even when it was replaced on disk.
    pub exe_sha256: Option<String>,
    /// Secrets are masked.
    pub argv: Vec<String>,
    /// Nearest first: `comm(pid)`.
    pub ancestors: Vec<String>,
    /// Working directory, in its own mount namespace.
    pub cwd: Option<String>,
    /// Pids of `ancestors`, nearest first.
    pub ancestor_pids: Vec<u32>,
    #[serde(flatten)]
    pub workload: WorkloadFact,
}

/// What a process runs in: from its cgroup's path, and from the files of container runtimes.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct WorkloadFact {
    pub cgroup: Option<String>,
    pub systemd_unit: Option<String>,
    pub systemd_user_unit: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`, `lxc`.
    pub runtime: Option<String>,
    pub container_id: Option<String>,
    pub container_name: Option<String>,
    /// As the container was asked for, most often `name:tag`.
    pub image: Option<String>,
    /// `sha256:` of the image's configuration, which is its id.
    pub image_id: Option<String>,
    /// `sha256:` of the manifest that it was pulled by.
    pub image_digest: Option<String>,
    pub pod_uid: Option<String>,
    pub pod_name: Option<String>,
    pub pod_namespace: Option<String>,
}

/// A file of model weights that a process has open or mapped.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct ModelFile {
    pub path: String,
    pub device: u64,
    pub inode: u64,
    pub size: u64,
    pub modified_ns: u64,
    /// `gguf`, `safetensors`.
    pub format: String,
    /// `general.name`, `general.architecture` and the file type of a GGUF header.
    pub name: Option<String>,
    pub architecture: Option<String>,
    pub quantisation: Option<String>,
    /// Lower-case hex, or None while it is being computed.
    pub sha256: Option<String>,
}

/// A TLS library that a process has mapped, or has in its executable.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsLibrary {
    pub path: String,
    /// `openssl`, `boringssl`, `gnutls`, `go`, `rustls`.
    pub library: String,
    pub version: Option<String>,
    /// Why its plaintext cannot be seen; None when it is.
    pub problem: Option<String>,
}

/// Facts that the edges look up and feed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum HostFact {
    /// First input of a run.
    Start(StartFact),
    /// Boot time and wall clock at one moment; the wall clock of every record comes from the newest.
    Clock {
        boot_ns: u64,
        unix_ns: u64,
    },
    /// Time passes; sent at least each second.
    Tick {
        boot_ns: u64,
    },
    Process(Box<ProcessFact>),
    /// The weights that a process has open, newest knowledge of all of them.
    Models {
        pid: u32,
        start_ns: u64,
        files: Vec<ModelFile>,
    },
    /// The local process at the other end of a connection, found from its addresses.
    Peer {
        sock: u64,
        generation: u64,
        pid: u32,
        start_ns: u64,
    },
    /// Kernel counters, totals since load, by index of `audit_common::loss::LossReason`.
    Loss {
        boot_ns: u64,
        events: Vec<u64>,
        bytes: Vec<u64>,
    },
    /// So many ring-buffer entries were no events that this version knows.
    Malformed {
        boot_ns: u64,
        entries: u64,
    },
    /// What the kernel has counted on a connection, asked for when it was quiet.
    ConnSync {
        sock: u64,
        generation: u64,
        rx_bytes: u64,
        tx_bytes: u64,
    },
    /// The TLS libraries of a process, newest knowledge of all of them.
    TlsLibraries {
        pid: u32,
        libraries: Vec<TlsLibrary>,
    },
    /// What the kernel side has counted on a TLS session.
    TlsSync {
        pid: u32,
        object: u64,
        generation: u64,
        rx_bytes: u64,
        tx_bytes: u64,
    },
    /// Load of the machine for the records to come.
    System(SystemFact),
    /// Last input of a run.
    Stop {
        boot_ns: u64,
        reason: String,
    },
}

/// Who records, where.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct StartFact {
    pub boot_ns: u64,
    pub unix_ns: u64,
    pub boot_id: String,
    pub host: String,
    pub kernel: String,
    pub agent_version: String,
    pub agent_sha256: Option<String>,
    pub config_sha256: Option<String>,
    /// `fentry`, `kprobe` or `tracepoint`.
    pub capture_path: String,
}

/// System state at one moment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct SystemFact {
    /// One-minute load average in hundredths.
    pub load1_centi: u64,
    pub memory_available_bytes: u64,
    pub memory_total_bytes: u64,
    pub cpus: u64,
}
