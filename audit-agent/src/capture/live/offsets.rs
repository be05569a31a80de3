//! The offsets and system call numbers that the kernel programs work with.
//!
//! In: a BTF index. Out: [`Offsets`], or which member this kernel lacks.

use crate::capture::btf::{Btf, BtfError};
use audit_common::config::{Offsets, Syscalls};

/// Resolves every member that the programs read.
pub fn resolve(btf: &Btf<'_>) -> Result<Offsets, BtfError> {
    let of = |name, path| btf.offset(name, path);
    let sock = |member: &str| btf.offset("sock", &format!("__sk_common.{member}"));
    let (regs_nr, regs_arg) = registers(btf)?;
    Ok(Offsets {
        regs_nr,
        regs_arg,
        task_files: of("task_struct", "files")?,
        task_mm: of("task_struct", "mm")?,
        task_start_boottime: of("task_struct", "start_boottime")?,
        task_tgid: of("task_struct", "tgid")?,
        task_pid: of("task_struct", "pid")?,
        task_real_parent: of("task_struct", "real_parent")?,
        mm_arg_start: of("mm_struct", "arg_start")?,
        mm_arg_end: of("mm_struct", "arg_end")?,
        files_fdt: of("files_struct", "fdt")?,
        fdt_max_fds: of("fdtable", "max_fds")?,
        fdt_fd: of("fdtable", "fd")?,
        file_inode: of("file", "f_inode")?,
        file_private_data: of("file", "private_data")?,
        inode_mode: of("inode", "i_mode")?,
        inode_ino: of("inode", "i_ino")?,
        socket_sk: of("socket", "sk")?,
        socket_type: of("socket", "type")?,
        sock_family: sock("skc_family")?,
        sock_state: sock("skc_state")?,
        sock_daddr: sock("skc_daddr")?,
        sock_rcv_saddr: sock("skc_rcv_saddr")?,
        sock_dport: sock("skc_dport")?,
        sock_num: sock("skc_num")?,
        sock_v6_daddr: sock("skc_v6_daddr")?,
        sock_v6_rcv_saddr: sock("skc_v6_rcv_saddr")?,
        sock_net: sock("skc_net.net")?,
        sock_peer_pid: of("sock", "sk_peer_pid")?,
        sock_peer_cred: of("sock", "sk_peer_cred")?,
        net_ns_inum: of("net", "ns.inum")?,
        pid_nr: of("pid", "numbers")? + of("upid", "nr")?,
        cred_uid: of("cred", "uid")?,
        bprm_filename: of("linux_binprm", "filename")?,
    })
}

/// System call number and arguments in `struct pt_regs`, which are still there when the call returns.
#[cfg(target_arch = "x86_64")]
fn registers(btf: &Btf<'_>) -> Result<(u32, [u32; 6]), BtfError> {
    let of = |member| btf.offset("pt_regs", member);
    Ok((
        of("orig_ax")?,
        [of("di")?, of("si")?, of("dx")?, of("r10")?, of("r8")?, of("r9")?],
    ))
}

/// On arm64 the result overwrites `regs[0]`, so the first argument is read from `orig_x0`.
#[cfg(target_arch = "aarch64")]
fn registers(btf: &Btf<'_>) -> Result<(u32, [u32; 6]), BtfError> {
    let of = |member| btf.offset("pt_regs", member);
    let regs = of("regs")?;
    Ok((
        of("syscallno")?,
        [
            of("orig_x0")?,
            regs + 8,
            regs + 16,
            regs + 24,
            regs + 32,
            regs + 40,
        ],
    ))
}

/// Numbers of the system calls that move bytes, on the machine this was compiled for.
pub fn syscalls() -> Syscalls {
    let number = |number: libc::c_long| u32::try_from(number).unwrap_or(u32::MAX);
    Syscalls {
        read: number(libc::SYS_read),
        write: number(libc::SYS_write),
        readv: number(libc::SYS_readv),
        writev: number(libc::SYS_writev),
        recvfrom: number(libc::SYS_recvfrom),
        sendto: number(libc::SYS_sendto),
        recvmsg: number(libc::SYS_recvmsg),
        sendmsg: number(libc::SYS_sendmsg),
        recvmmsg: number(libc::SYS_recvmmsg),
        sendmmsg: number(libc::SYS_sendmmsg),
        sendfile: number(libc::SYS_sendfile),
        splice: number(libc::SYS_splice),
        mmap: number(libc::SYS_mmap),
    }
}
