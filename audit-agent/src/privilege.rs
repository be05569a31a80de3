//! Giving rights up: what each process of the agent keeps after it has started.
//!
//! In: who the agent was started as, the account that the configuration names. Out: a process that has no more than it needs,
//! and cannot get it back. Never: a right that is added, a failure to give one up that goes unnoticed.

pub mod capabilities;
pub mod filter;
pub mod folder;
pub mod identity;
pub mod status;

use capabilities::Set;
use identity::Account;
use nix::sys::prctl::{set_dumpable, set_name, set_no_new_privs, set_pdeathsig};
use nix::sys::signal::Signal;
use std::ffi::CString;
use std::io;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum PrivilegeError {
    #[error("missing {0}: run as root, or with these capabilities; `audit-agent doctor` checks the rest")]
    Missing(String),
    #[error("there is no account `{0}`; make one with `useradd --system {0}`, or set process.user")]
    NoAccount(String),
    #[error("process.user is `{0}`, which is root; name an account without rights")]
    Root(String),
    #[error("cannot give up {what}: {source}")]
    Keep { what: &'static str, source: io::Error },
    #[error("the system call filter cannot be set: {0}; a kernel with CONFIG_SECCOMP_FILTER=y is needed")]
    Filter(String),
    #[error("{path} {problem}")]
    Folder { path: String, problem: String },
}

/// The name among the processes of the one that parses; the other keeps the program's.
pub const WORKER_NAME: &str = "audit-worker";
/// The name of the one that asks the witnesses.
pub const WITNESSES_NAME: &str = "audit-witnesses";

/// What the process that holds the kernel programs goes on needing: to attach to TLS libraries, to read what other accounts'
/// processes have open, and (where it was given) to follow `/proc/PID/map_files`.
pub const MONITOR: Set = Set::of(&[
    capabilities::BPF,
    capabilities::PERFMON,
    capabilities::SYS_PTRACE,
    capabilities::DAC_READ_SEARCH,
    capabilities::CHECKPOINT_RESTORE,
]);

/// What placing a probe in a program takes besides, on Linux since 6.16 and the stable releases of 2025 ("perf: Revert to
/// requiring CAP_SYS_ADMIN for uprobes"). It is permitted where there was such a right, and effective for that moment only.
pub const PROBES: Set = Set::of(&[capabilities::SYS_ADMIN]);

/// Without these nothing is captured.
pub const NEEDED: Set = Set::of(&[
    capabilities::BPF,
    capabilities::PERFMON,
    capabilities::SYS_PTRACE,
    capabilities::DAC_READ_SEARCH,
]);

/// An error that names what is missing of [`NEEDED`]: without one of these the agent would start and see nothing, or half.
pub fn require() -> Result<(), PrivilegeError> {
    let missing = NEEDED.without(capabilities::effective());
    if missing == Set::EMPTY {
        return Ok(());
    }
    Err(PrivilegeError::Missing(missing.names().join(", ")))
}

/// Before anything is opened: no core file, no file that others may write.
pub fn harden() -> Result<(), PrivilegeError> {
    use nix::sys::resource::{Resource, setrlimit};
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(keep("core files"))
}

/// Becomes `account` with the capabilities in `wanted` (as far as they are there) and no others, for good.
pub fn reduce(account: &Account, wanted: Set) -> Result<(), PrivilegeError> {
    capabilities::bound()?;
    identity::become_account(account)?;
    capabilities::set(wanted)?;
    set_no_new_privs().map_err(keep("the way to new rights"))?;
    // The kernel makes a process readable again when its account changes.
    not_dumpable()
}

/// Holds the kernel programs from here on: what is [`MONITOR`]'s and, where `probes` says so, what is permitted of [`PROBES`],
/// and no system call that such a process never makes.
pub fn hold(account: &Account, probes: bool) -> Result<(), PrivilegeError> {
    let wanted = if probes { MONITOR.with(PROBES) } else { MONITOR };
    reduce(account, wanted)?;
    capabilities::set_effective(MONITOR).map_err(keep("capabilities"))?;
    filter::apply_to_monitor()
}

/// Does what placing a probe takes with the right to do so, where that is permitted.
pub fn probing<T>(work: impl FnOnce() -> T) -> T {
    let effective = capabilities::effective();
    if PROBES.without(capabilities::permitted()) != Set::EMPTY || PROBES.without(effective) == Set::EMPTY {
        return work();
    }
    // A failure to raise shows as a probe that is refused; one to lower cannot be gone on with.
    let _ = capabilities::set_effective(effective.with(PROBES));
    let done = work();
    if capabilities::set_effective(effective).is_err() {
        std::process::abort();
    }
    done
}

/// Parses from here on: no capabilities, and only the system calls of [`filter`].
pub fn confine() -> Result<(), PrivilegeError> {
    capabilities::set(Set::EMPTY)?;
    set_no_new_privs().map_err(keep("the way to new rights"))?;
    not_dumpable()?;
    filter::apply()
}

/// Asks witnesses over the network from here on, and reads the log; writes no file.
pub fn confine_to_asking() -> Result<(), PrivilegeError> {
    filter::asking::apply()
}

/// Ends this process as soon as the one ends that has made it. Called after the account has changed, which undoes it.
pub fn end_with_parent() -> Result<(), PrivilegeError> {
    set_pdeathsig(Signal::SIGKILL).map_err(keep("a life of its own"))
}

/// Shows this process by `name`, at most 15 bytes, among the others of the host.
pub fn name(name: &str) {
    if let Ok(name) = CString::new(name) {
        let _ = set_name(&name);
    }
}

/// For a command that reads what somebody else wrote: the rights to open files, no others, and only the system calls of
/// [`filter`] unless it reads over the network. Where the system cannot filter, the command works all the same: it is no service.
pub fn reader(network: bool) {
    let opening = Set::of(&[capabilities::DAC_OVERRIDE, capabilities::DAC_READ_SEARCH]);
    let reduced = capabilities::bound()
        .and_then(|()| capabilities::set(opening))
        .and_then(|()| set_no_new_privs().map_err(keep("the way to new rights")));
    let filtered = || if network { Ok(()) } else { filter::apply() };
    if let Err(error) = reduced.and_then(|()| filtered()) {
        tracing::debug!(%error, "going on with the caller's rights");
    }
}

/// Neither a debugger of the same account nor `/proc/PID/mem` may look inside.
fn not_dumpable() -> Result<(), PrivilegeError> {
    set_dumpable(false).map_err(keep("being readable by others"))
}

fn keep<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> PrivilegeError {
    move |source| PrivilegeError::Keep {
        what,
        source: source.into(),
    }
}
