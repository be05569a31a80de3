//! What rights the agent has to start with, and what its processes keep.
//!
//! In: the account that the configuration names. Out: checks. Never: a right that stays changed: what is tried out is tried out
//! in a process of its own.

use super::{Check, Status};
use crate::config::Config;
use crate::privilege::capabilities::{self, CHECKPOINT_RESTORE, Set};
use crate::privilege::identity::Account;
use crate::privilege::{self, PrivilegeError, status};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::fs;
use std::io::{Read, Write};
use std::path::Path;

/// Before the first thread is made: it forks.
pub fn checks(config: Option<&Path>) -> Vec<Check> {
    let mut checks = vec![capabilities(), worker(config)];
    checks.extend(running());
    checks
}

fn capabilities() -> Check {
    let there = capabilities::effective();
    let missing = privilege::NEEDED.without(there);
    let helps = Set::of(&[CHECKPOINT_RESTORE]);
    if missing == Set::EMPTY && helps.without(there) != Set::EMPTY {
        return Check::new(
            "capabilities",
            false,
            Status::Warn,
            "all but CAP_CHECKPOINT_RESTORE",
            "without it a TLS library that was replaced on disk is not seen into; give it too",
        );
    }
    let detail = if missing == Set::EMPTY {
        "all there".to_owned()
    } else {
        format!("missing: {}", missing.names().join(", "))
    };
    Check::new(
        "capabilities",
        missing == Set::EMPTY,
        Status::Fail,
        detail,
        "run as root, for example with sudo, or with these capabilities",
    )
}

/// Whether TLS libraries can be seen into with the rights that are there.
#[cfg(feature = "live")]
pub fn probes(take_more: bool) -> Check {
    let there = privilege::PROBES.without(capabilities::permitted()) == Set::EMPTY;
    let detail = match (take_more, there) {
        (false, _) => "seeing into TLS libraries takes no more",
        (true, true) => {
            "seeing into TLS libraries takes CAP_SYS_ADMIN on this kernel: raised for that moment only"
        }
        (true, false) => "seeing into TLS libraries takes CAP_SYS_ADMIN on this kernel, and it is missing",
    };
    Check::new(
        "probes",
        !take_more || there,
        Status::Warn,
        detail,
        "what servers say over TLS is declared as missing; give CAP_SYS_ADMIN too",
    )
}

/// Gives everything up in a child, as the process that parses does, and says what the kernel then says of it.
fn worker(config: Option<&Path>) -> Check {
    let tried = Config::load(config)
        .map_err(|error| error.to_string())
        .and_then(|config| Account::choose(&config.process.user).map_err(|error| error.to_string()))
        .and_then(|account| confined(account).map_err(|error| error.to_string()))
        .and_then(|said| said);
    let kept = tried.as_ref().map(|text| status::parse(text));
    let detail = match (&kept, &tried) {
        (Ok(kept), _) => format!("parsing is done with {kept}"),
        (_, Err(error)) => error.clone(),
        (Err(_), Ok(_)) => String::new(),
    };
    Check::new(
        "privileges",
        kept.is_ok_and(status::Status::is_confined),
        Status::Fail,
        detail,
        "the agent does not parse with more rights than it needs; root needs CAP_SETUID and CAP_SETGID to give them up",
    )
}

/// The status file of a child that has confined itself, or what kept it from that.
fn confined(account: Account) -> std::io::Result<Result<String, String>> {
    let (mut from, mut to) = std::io::pipe()?;
    // SAFETY: this process has one thread yet, so the child may go on as if it were this one.
    match unsafe { fork() }? {
        ForkResult::Child => {
            drop(from);
            let text = confine(account).map_err(|error| error.to_string());
            let code = i32::from(text.is_err());
            let _ = to.write_all(text.unwrap_or_else(|error| error).as_bytes());
            // SAFETY: ends the child without running what the parent has registered for its own end.
            unsafe { libc::_exit(code) }
        }
        ForkResult::Parent { child } => {
            drop(to);
            let mut text = String::new();
            from.read_to_string(&mut text)?;
            Ok(match waitpid(child, None)? {
                WaitStatus::Exited(_, 0) => Ok(text),
                WaitStatus::Exited(..) => Err(text),
                other => Err(format!("a process that gave its rights up was ended: {other:?}")),
            })
        }
    }
}

fn confine(account: Account) -> Result<String, PrivilegeError> {
    privilege::reduce(&account, Set::EMPTY)?;
    privilege::confine()?;
    Ok(fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Processes that run now and read what strangers write.
fn running() -> Vec<Check> {
    let found = procfs::process::all_processes().into_iter().flatten().flatten();
    let running = found.filter_map(|process| {
        let text = fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
        let name = text.lines().next()?.strip_prefix("Name:")?.trim();
        let names = [privilege::WORKER_NAME, privilege::WITNESSES_NAME];
        let name = names.into_iter().find(|known| *known == name)?;
        Some((name, process.pid(), status::parse(&text)))
    });
    running
        .map(|(name, pid, kept)| {
            Check::new(
                "running",
                kept.is_confined(),
                Status::Warn,
                format!("{name}({pid}): {kept}"),
                "it has more rights than it needs: stop it and start this version",
            )
        })
        .collect()
}
