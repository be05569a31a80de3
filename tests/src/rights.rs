//! What the processes of the agent may do, as the kernel says, and starting it with less than root has.
//!
//! In: a running agent; a command. Out: rows of `/proc/PID/status`; a command that starts as somebody with few capabilities.
//! Never: the agent's own reading of the same.

use crate::agent::Agent;
use crate::wait;
use anyhow::{Context, Result, ensure};
use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
use nix::unistd::{setgroups, setresgid, setresuid};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Numbers of capabilities(7).
pub const DAC_OVERRIDE: u64 = 1;
pub const DAC_READ_SEARCH: u64 = 2;
pub const SYS_PTRACE: u64 = 19;
pub const SYS_ADMIN: u64 = 21;
pub const PERFMON: u64 = 38;
pub const BPF: u64 = 39;
pub const CHECKPOINT_RESTORE: u64 = 40;

/// What a service needs to be given.
pub const FOUR: [u64; 4] = [DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF];
/// What the process keeps that looks things up.
pub const KEPT: [u64; 5] = [DAC_READ_SEARCH, SYS_PTRACE, PERFMON, BPF, CHECKPOINT_RESTORE];
/// The account of an agent that root started, where none was made for it.
pub const UNNAMED: u32 = 60_911;

const LIMIT: Duration = Duration::from_secs(10);

/// A set as `/proc/PID/status` writes it.
pub fn set(capabilities: &[u64]) -> String {
    let bits = capabilities.iter().fold(0u64, |bits, number| bits | 1 << number);
    format!("{bits:016x}")
}

/// A row of a thread's status file, its words joined by one space.
pub fn row(pid: u32, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let found = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let words: Vec<&str> = found
        .with_context(|| format!("{name} of {pid}"))?
        .split_whitespace()
        .collect();
    Ok(words.join(" "))
}

/// The process of an agent that parses.
pub fn worker(agent: &Agent) -> Result<u32> {
    only_child(agent.pid())
}

/// The process of an agent that asks witnesses.
pub fn asker(agent: &Agent) -> Result<u32> {
    only_child(worker(agent)?)
}

fn only_child(parent: u32) -> Result<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    wait::until("the process having one child", LIMIT, || {
        let children = std::fs::read_to_string(&path)?;
        let mut pids = children.split_whitespace();
        let pid = pids.next().and_then(|pid| pid.parse().ok());
        Ok(pid.filter(|_| pids.next().is_none()))
    })
}

/// Every thread of a process.
fn threads(pid: u32) -> Result<Vec<u32>> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task"))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().parse()?));
    names.collect()
}

/// Waits until a process has ended; whoever inherits it may be slow to collect it.
pub fn gone(pid: u32, limit: Duration) -> Result<()> {
    wait::until("the process ending", limit, || {
        let state = row(pid, "State").unwrap_or_else(|_| "X".into());
        Ok(state.starts_with(['X', 'Z']).then_some(()))
    })
}

/// What a process must have; threads that it starts have no capabilities.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    pub uid: u32,
    pub effective: &'a [u64],
    /// What may be permitted besides.
    pub dormant: &'a [u64],
    pub bounding: &'a [u64],
}

pub fn check(pid: u32, expected: &Expected) -> Result<()> {
    let uid = expected.uid;
    for thread in threads(pid)? {
        let main = thread == pid;
        let effective = if main { expected.effective } else { &[] };
        let dormant = if main { expected.dormant } else { &[] };
        let rows = [
            ("Uid", format!("{uid} {uid} {uid} {uid}")),
            ("Groups", String::new()),
            ("CapInh", set(&[])),
            ("CapEff", set(effective)),
            ("CapBnd", set(expected.bounding)),
            ("CapAmb", set(&[])),
            ("NoNewPrivs", "1".into()),
            ("Seccomp", "2".into()),
        ];
        for (name, wanted) in &rows {
            let found = row(thread, name)?;
            ensure!(
                found == *wanted,
                "{name} of {thread} is {found:?} and not {wanted:?}"
            );
        }
        let permitted = row(thread, "CapPrm")?;
        let most = set(&[effective, dormant].concat());
        ensure!(
            permitted == set(effective) || permitted == most,
            "CapPrm of {thread} is {permitted}"
        );
    }
    Ok(())
}

/// Makes `command` start as `uid` with these capabilities and no others, the way a service manager does. Takes root.
pub fn start_with(command: &mut Command, uid: u32, capabilities: &'static [u64]) {
    // SAFETY: the closure runs in the child between fork and exec; it makes system calls only, on its own stack.
    unsafe { command.pre_exec(move || become_with(uid, capabilities)) };
}

/// Gives a folder to `uid`.
pub fn give(folder: &Path, uid: u32) -> Result<()> {
    Ok(std::os::unix::fs::chown(folder, Some(uid), Some(uid))?)
}

/// `struct __user_cap_header_struct`, then two of `struct __user_cap_data_struct`.
#[repr(C)]
struct CapSet {
    version: u32,
    pid: u32,
}

fn become_with(uid: u32, capabilities: &[u64]) -> io::Result<()> {
    let keep = |number: &u64| capabilities.contains(number);
    for number in (0..=CHECKPOINT_RESTORE).filter(|number| !keep(number)) {
        prctl(libc::PR_CAPBSET_DROP, number, 0)?;
    }
    prctl(libc::PR_SET_KEEPCAPS, 1, 0)?;
    // Matters before Linux 5.11 only; root may lack the right to.
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
    setgroups(&[])?;
    setresgid(uid.into(), uid.into(), uid.into())?;
    setresuid(uid.into(), uid.into(), uid.into())?;
    let bits = capabilities.iter().fold(0u64, |bits, number| bits | 1 << number);
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    let header = CapSet {
        version: 0x2008_0522,
        pid: 0,
    };
    let data = [[low; 3], [high; 3]];
    // SAFETY: version 3 of the call reads one header and two data structures; both live through it.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    succeeded(done as libc::c_int)?;
    for number in capabilities {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, *number)?;
    }
    Ok(())
}

fn prctl(option: libc::c_int, first: u64, second: u64) -> io::Result<()> {
    // SAFETY: the options used here take integers and touch no memory.
    succeeded(unsafe { libc::prctl(option, first, second, 0u64, 0u64) })
}

fn succeeded(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
