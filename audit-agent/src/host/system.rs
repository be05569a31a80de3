//! State of the machine and identity of this agent.

use super::clock;
use super::digest::Digests;
use crate::event::{StartFact, SystemFact};
use std::fs;

/// Load and memory now.
pub fn state() -> SystemFact {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load1: f64 = load
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0.0);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    SystemFact {
        load1_centi: (load1 * 100.0) as u64,
        memory_available_bytes: field("MemAvailable:").unwrap_or(0) * 1024,
        memory_total_bytes: field("MemTotal:").unwrap_or(0) * 1024,
        cpus: std::thread::available_parallelism().map_or(0, |count| count.get() as u64),
    }
}

/// Who records, where.
pub fn start(capture_path: &str, config_sha256: Option<String>) -> StartFact {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    StartFact {
        boot_ns: clock::boot_ns(),
        unix_ns: clock::unix_ns(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        host: line("/proc/sys/kernel/hostname"),
        kernel: line("/proc/sys/kernel/osrelease"),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        agent_sha256: Digests::own_executable(),
        config_sha256,
        capture_path: capture_path.into(),
    }
}
