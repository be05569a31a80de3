//! The offsets and system call numbers that the kernel programs work with.
//!
//! In: a BTF index. Out: [`Offsets`], or which member this kernel lacks.

use super::LoadError;
use super::refusal::BTF_PATH;
use crate::capture::btf::{Btf, BtfError};
use audit_common::config::{NO_KIND, Offsets, Syscalls};
use std::io::{BufRead, BufReader};

/// What the kernel's type information says.
pub struct Resolved {
    pub offsets: Offsets,
    /// How many parameters `tcp_recvmsg` has.
    pub recvmsg_parameters: u32,
    /// Whether there is `tcp_sendpage`.
    pub has_sendpage: bool,
}

/// Reads the kernel's BTF and gives its memory back before anything else is allocated.
pub fn of_this_kernel() -> Result<Resolved, LoadError> {
    let blob = std::fs::read(BTF_PATH).map_err(LoadError::NoBtf)?;
    let btf = Btf::parse(&blob)?;
    Ok(Resolved {
        offsets: resolve(&btf)?,
        recvmsg_parameters: btf.parameters("tcp_recvmsg").unwrap_or(0),
        has_sendpage: btf.parameters("tcp_sendpage").is_some(),
    })
}

/// Resolves every member that the programs read.
fn resolve(btf: &Btf<'_>) -> Result<Offsets, BtfError> {
    let of = |name, path| btf.offset(name, path);
    let sock = |member: &str| btf.offset("sock", &format!("__sk_common.{member}"));
    let (regs_nr, regs_arg) = registers(btf)?;
    let (call_arg, call_result) = calls(btf)?;
    let mut offsets = Offsets::ZERO;
    transport(btf, &mut offsets)?;
    // Where one is missing, what no program saw stays uncounted.
    let _ = tcp_numbers(btf, &mut offsets);
    let _ = unix_name(btf, &mut offsets);
    Ok(Offsets {
        regs_nr,
        regs_arg,
        call_arg,
        call_result,
        sock_flags: sock("skc_flags")?,
        task_files: of("task_struct", "files")?,
        task_mm: of("task_struct", "mm")?,
        task_start_boottime: of("task_struct", "start_boottime")?,
        task_tgid: of("task_struct", "tgid")?,
        task_pid: of("task_struct", "pid")?,
        task_real_parent: of("task_struct", "real_parent")?,
        task_signal: of("task_struct", "signal")?,
        signal_live: of("signal_struct", "live")?,
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
        ..offsets
    })
}

/// What the programs at the transport functions read besides.
fn transport(btf: &Btf<'_>, offsets: &mut Offsets) -> Result<(), BtfError> {
    let of = |name, path| btf.offset(name, path);
    let either = |new, old| of("iov_iter", new).or_else(|_| of("iov_iter", old));
    let kind = |name| btf.enumerator("iter_type", name).unwrap_or(NO_KIND);
    offsets.sock_socket = of("sock", "sk_socket")?;
    offsets.socket_alloc_inode = of("socket_alloc", "vfs_inode")?;
    offsets.msghdr_iter = of("msghdr", "msg_iter")?;
    offsets.iter_type = either("iter_type", "type")?;
    offsets.iter_type_len = btf.member_size("iov_iter", "iter_type").map_or(4, |_| 1);
    offsets.iter_offset = of("iov_iter", "iov_offset")?;
    offsets.iter_segments = of("iov_iter", "nr_segs")?;
    offsets.iter_vector = either("__iov", "iov")?;
    offsets.iter_ubuf = of("iov_iter", "ubuf").unwrap_or(offsets.iter_vector);
    offsets.iter_kind_ubuf = kind("ITER_UBUF");
    offsets.iter_kind_iovec = kind("ITER_IOVEC");
    offsets.iter_kind_kvec = kind("ITER_KVEC");
    offsets.iter_kind_bvec = kind("ITER_BVEC");
    pages(btf, offsets);
    Ok(())
}

/// Where the name of a unix socket is; nothing is set unless all of it is there.
fn unix_name(btf: &Btf<'_>, offsets: &mut Offsets) -> Result<(), BtfError> {
    let (addr, len) = (
        btf.offset("unix_sock", "addr")?,
        btf.offset("unix_address", "len")?,
    );
    offsets.unix_addr_name = btf.offset("unix_address", "name")?;
    (offsets.unix_addr, offsets.unix_addr_len) = (addr, len);
    Ok(())
}

/// TCP's own numbers; nothing is set unless all of it is there.
fn tcp_numbers(btf: &Btf<'_>, offsets: &mut Offsets) -> Result<(), BtfError> {
    let of = |member| btf.offset("tcp_sock", member);
    let (next, copied, written) = (of("rcv_nxt")?, of("copied_seq")?, of("write_seq")?);
    let ulp_ops = btf.offset("inet_connection_sock", "icsk_ulp_ops")?;
    offsets.sock_protocol = btf.offset("sock", "sk_protocol")?;
    offsets.sock_ulp_ops = ulp_ops;
    offsets.tcp_rcv_nxt = next;
    offsets.tcp_copied_seq = copied;
    offsets.tcp_write_seq = written;
    Ok(())
}

/// On x86-64 all pages and their descriptions are mapped in two ranges whose begins are variables of the kernel. Where they
/// are not found, bytes that are only in pages are declared missing.
fn pages(btf: &Btf<'_>, offsets: &mut Offsets) {
    let size = btf.size("page").filter(|size| size.is_power_of_two());
    let (Some(size), [Some(page_offset_base), Some(vmemmap_base)]) =
        (size, variables(["page_offset_base", "vmemmap_base"]))
    else {
        return;
    };
    offsets.page_size_log2 = size.trailing_zeros();
    offsets.page_offset_base = page_offset_base;
    offsets.vmemmap_base = vmemmap_base;
}

/// Addresses of the kernel's variables; 0 for all where they are hidden (`kernel.kptr_restrict`).
fn variables(names: [&str; 2]) -> [Option<u64>; 2] {
    let mut found = [None; 2];
    let Ok(file) = std::fs::File::open("/proc/kallsyms") else {
        return found;
    };
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        let (address, name) = (words.next(), words.nth(1));
        if let Some(index) = names.iter().position(|wanted| name == Some(wanted)) {
            let address = address.and_then(|text| u64::from_str_radix(text, 16).ok());
            found[index] = address.filter(|address| *address != 0);
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
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

/// A function's arguments and its result in `struct pt_regs` (System V ABI).
#[cfg(target_arch = "x86_64")]
fn calls(btf: &Btf<'_>) -> Result<([u32; 6], u32), BtfError> {
    let of = |member| btf.offset("pt_regs", member);
    let arguments = [of("di")?, of("si")?, of("dx")?, of("cx")?, of("r8")?, of("r9")?];
    Ok((arguments, of("ax")?))
}

/// A function's arguments and its result in `struct pt_regs` (AAPCS64).
#[cfg(target_arch = "aarch64")]
fn calls(btf: &Btf<'_>) -> Result<([u32; 6], u32), BtfError> {
    let regs = btf.offset("pt_regs", "regs")?;
    Ok(([regs, regs + 8, regs + 16, regs + 24, regs + 32, regs + 40], regs))
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
