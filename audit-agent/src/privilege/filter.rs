//! The system calls that a process may make which parses what it did not write (seccomp(2)).
//!
//! An allow-list. Any other call ends the process at once: it then shows in the monitor's last words, in the kernel's audit log
//! and as an `agent_down` gap, while an error number would leave whoever has taken the process over to try the next call.
//! Never: a call that executes a program, opens a network socket, looks at another process, loads a kernel program, or makes
//! memory executable. A call that is used newly by this process belongs into `COMMON` or `CHANGES`, with its reason.

pub mod asking;

use super::PrivilegeError;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// Calls with any arguments, of every process that parses.
const COMMON: &[libc::c_long] = &[
    // Standard output and error, open files, the channel to the other process.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    // Files that are looked at.
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_faccessat,
    libc::SYS_fadvise64,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_fstatfs,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // The clock where it is no plain memory read; seeds of hash tables; new keys.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Memory. `mmap` and `mprotect` are below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // A panic's message, and the end.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getcwd,
    libc::SYS_uname,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// The log's files: made, prolonged, moved, removed, made durable.
const CHANGES: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_pwrite64,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_copy_file_range,
    libc::SYS_mkdirat,
    libc::SYS_linkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
];

/// Calls that the monitor never makes once it has loaded the programs, and that would make more of its capabilities. Names of
/// accounts are looked up by whatever the system is configured with (nsswitch.conf(5)), so that it may connect to a service.
const FORBIDDEN: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_listen,
];

/// Older forms of some of these, which other C libraries use.
#[cfg(target_arch = "x86_64")]
mod old {
    pub const COMMON: &[libc::c_long] = &[
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_readlink,
        libc::SYS_access,
        libc::SYS_poll,
        libc::SYS_time,
    ];
    pub const CHANGES: &[libc::c_long] = &[
        libc::SYS_open,
        libc::SYS_mkdir,
        libc::SYS_rename,
        libc::SYS_unlink,
        libc::SYS_rmdir,
        libc::SYS_chmod,
    ];
}
#[cfg(not(target_arch = "x86_64"))]
mod old {
    pub const COMMON: &[libc::c_long] = &[];
    pub const CHANGES: &[libc::c_long] = &[];
}

/// `ioctl` may ask one thing: whether a descriptor is a terminal (TCGETS, asm-generic/ioctls.h).
const TERMINAL: (u8, u64) = (1, 0x5401);

/// The third argument of both says what the memory is for.
const MAPS: [libc::c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];
const PROTECTION: u8 = 2;

/// Filters this thread's calls from now on, and those of all threads it makes. Makes `no_new_privs` true.
pub fn apply() -> Result<(), PrivilegeError> {
    seccompiler::apply_filter(&program()?).map_err(wrong)
}

/// Ends the process that holds the kernel programs, and all threads it makes, at a call of `FORBIDDEN`.
pub fn apply_to_monitor() -> Result<(), PrivilegeError> {
    let rules = FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    let program = compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)?;
    seccompiler::apply_filter(&program).map_err(wrong)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    others: SeccompAction,
    those: SeccompAction,
) -> Result<BpfProgram, PrivilegeError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(wrong)?;
    let filter = SeccompFilter::new(rules, others, those, arch);
    filter.and_then(BpfProgram::try_from).map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> PrivilegeError {
    PrivilegeError::Filter(error.to_string())
}

fn program() -> Result<BpfProgram, PrivilegeError> {
    let (command, is_terminal) = TERMINAL;
    let mut rules = any_arguments(&[COMMON, old::COMMON, CHANGES, old::CHANGES]);
    rules.extend(memory()?);
    rules.insert(
        libc::SYS_ioctl,
        vec![rule(command, SeccompCmpOp::Eq, is_terminal)?],
    );
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn any_arguments(lists: &[&[libc::c_long]]) -> BTreeMap<i64, Vec<SeccompRule>> {
    let calls = lists.iter().flat_map(|list| list.iter());
    calls.map(|call| (*call, Vec::new())).collect()
}

/// Memory that is not executable.
fn memory() -> Result<[(i64, Vec<SeccompRule>); 2], PrivilegeError> {
    let executable = libc::PROT_EXEC as u64;
    let rule = rule(PROTECTION, SeccompCmpOp::MaskedEq(executable), 0)?;
    Ok(MAPS.map(|call| (call, vec![rule.clone()])))
}

/// Holds where the lower half of an argument compares so.
fn rule(argument: u8, compare: SeccompCmpOp, with: u64) -> Result<SeccompRule, PrivilegeError> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, with);
    SeccompRule::new(vec![condition.map_err(wrong)?]).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// How a child ends that makes `call` behind the filter; 0 when the call came back.
    fn fate(call: fn() -> i64) -> WaitStatus {
        let program = program().unwrap();
        // SAFETY: the child makes system calls only and ends by `_exit`; it allocates nothing and takes no lock.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let code = i32::from(seccompiler::apply_filter(&program).is_err());
                call();
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(code) }
            }
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
        }
    }

    fn ended_by_the_filter(call: fn() -> i64) -> bool {
        matches!(fate(call), WaitStatus::Signaled(_, Signal::SIGSYS, _))
    }

    fn map(protection: i32) -> i64 {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping that nothing refers to.
        unsafe { libc::mmap(nowhere, 4096, protection, flags, -1, 0) as i64 }
    }

    #[test]
    fn what_the_log_and_the_allocator_need_is_allowed() {
        let calls: [fn() -> i64; 4] = [
            // SAFETY: writes nothing, since the descriptor is not open.
            || unsafe { i64::from(libc::isatty(-1)) },
            // SAFETY: reads nothing through the pointer, since the descriptor is not open.
            || unsafe { libc::write(-1, c"".as_ptr().cast(), 0) as i64 },
            || map(libc::PROT_READ | libc::PROT_WRITE),
            // SAFETY: a plain system call.
            || unsafe { i64::from(libc::fdatasync(-1)) },
        ];
        for call in calls {
            assert!(matches!(fate(call), WaitStatus::Exited(_, 0)));
        }
    }

    #[test]
    fn a_forbidden_system_call_ends_the_process() {
        let calls: [fn() -> i64; 7] = [
            // SAFETY: reads one byte through the pointer, if the descriptor were open.
            || unsafe { i64::from(libc::ioctl(-1, libc::TIOCSTI, c"x".as_ptr())) },
            // SAFETY: a plain system call.
            || unsafe { i64::from(libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0)) },
            // SAFETY: the path and the null-terminated list outlive the call.
            || unsafe { i64::from(libc::execv(c"/bin/true".as_ptr(), [std::ptr::null()].as_ptr())) },
            // SAFETY: asks to be traced by the parent, which does not.
            || unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) },
            // SAFETY: an unknown command without attributes.
            || unsafe { libc::syscall(libc::SYS_bpf, -1, 0, 0) },
            // SAFETY: signal 0 is none.
            || unsafe { i64::from(libc::kill(1, 0)) },
            // SAFETY: a plain system call.
            || unsafe { libc::syscall(libc::SYS_unshare, 0) },
        ];
        for (number, call) in calls.into_iter().enumerate() {
            assert!(ended_by_the_filter(call), "call {number}");
        }
    }

    #[test]
    fn memory_cannot_be_made_executable() {
        assert!(ended_by_the_filter(|| map(libc::PROT_READ | libc::PROT_EXEC)));
    }
}
