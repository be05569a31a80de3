//! The system calls of the process that asks the witnesses: it reads files, and speaks over the network.
//!
//! Name resolution is whatever the system is configured with (nsswitch.conf(5)), which may try more than is listed here: a call
//! that is not allowed fails with EPERM, and resolution goes on to the next way. Never: a file that is written, made, moved or
//! removed; a program that is executed; a socket that listens.

use super::{COMMON, PrivilegeError, any_arguments, compile, memory, old, rule, wrong};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpOp, SeccompRule};

/// A client of TCP and of UDP (names).
const NETWORK: &[libc::c_long] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
];

/// Name services of the host, the network, the kernel's list of addresses.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// TCGETS, FIONBIO, FIONREAD (asm-generic/ioctls.h).
const COMMANDS: [u64; 3] = [0x5401, 0x5421, 0x541b];

/// What of a file's flags would change something.
const WRITES: libc::c_int = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;

/// Filters this thread's calls from now on. Makes `no_new_privs` true.
pub fn apply() -> Result<(), PrivilegeError> {
    seccompiler::apply_filter(&program()?).map_err(wrong)
}

fn program() -> Result<BpfProgram, PrivilegeError> {
    let one_of = |argument, values: &[u64]| -> Result<Vec<SeccompRule>, PrivilegeError> {
        let rules = values
            .iter()
            .map(|value| rule(argument, SeccompCmpOp::Eq, *value));
        rules.collect()
    };
    let reading = |flags| rule(flags, SeccompCmpOp::MaskedEq(u64::from(WRITES.unsigned_abs())), 0);
    let mut rules = any_arguments(&[COMMON, old::COMMON, NETWORK]);
    rules.extend(memory()?);
    rules.insert(
        libc::SYS_socket,
        one_of(0, &FAMILIES.map(|family| u64::from(family.unsigned_abs())))?,
    );
    rules.insert(libc::SYS_ioctl, one_of(1, &COMMANDS)?);
    rules.insert(libc::SYS_openat, vec![reading(2)?]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![reading(1)?]);
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    compile(rules, refused, SeccompAction::Allow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// The error number of `call` behind the filter; 0 when it was let through and worked.
    fn error_of(call: fn() -> i64) -> i32 {
        let program = program().unwrap();
        // SAFETY: the child makes system calls only and ends by `_exit`; it allocates nothing and takes no lock.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let filtered = seccompiler::apply_filter(&program).is_ok();
                let error = if call() < 0 { Errno::last_raw() } else { 0 };
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(if filtered { error } else { 255 }) }
            }
            ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
                WaitStatus::Exited(_, code) => code,
                other => panic!("{other:?}"),
            },
        }
    }

    fn opened(flags: libc::c_int) -> i64 {
        // SAFETY: the path outlives the call.
        unsafe { i64::from(libc::open(c"/dev/null".as_ptr(), flags)) }
    }

    fn socket(family: libc::c_int) -> i64 {
        // SAFETY: a plain system call.
        unsafe { i64::from(libc::socket(family, libc::SOCK_STREAM, 0)) }
    }

    #[test]
    fn a_client_reads_files_and_connects() {
        let calls: [fn() -> i64; 3] = [
            || opened(libc::O_RDONLY | libc::O_CLOEXEC),
            || socket(libc::AF_INET),
            || socket(libc::AF_INET6),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            assert!([0, libc::EAFNOSUPPORT].contains(&error_of(call)), "call {number}");
        }
    }

    #[test]
    fn nothing_is_written_executed_or_listened_for() {
        let calls: [fn() -> i64; 8] = [
            || opened(libc::O_WRONLY),
            || opened(libc::O_RDWR),
            || opened(libc::O_RDONLY | libc::O_CREAT),
            || opened(libc::O_RDONLY | libc::O_TRUNC),
            // SAFETY: the path outlives the call.
            || unsafe { i64::from(libc::unlink(c"/nowhere".as_ptr())) },
            // SAFETY: the path and the null-terminated list outlive the call.
            || unsafe { i64::from(libc::execv(c"/bin/true".as_ptr(), [std::ptr::null()].as_ptr())) },
            // SAFETY: a plain system call.
            || unsafe { i64::from(libc::listen(-1, 1)) },
            || socket(libc::AF_PACKET),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(error_of(call), libc::EPERM, "call {number}");
        }
    }
}
