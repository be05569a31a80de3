//! Reads of kernel and user memory, by the offsets that the loader resolved.
//!
//! Every read may fail; a failed read is 0 here, and a 0 ends the caller's path.

use crate::maps::{offsets, syscalls};
use aya_ebpf::EbpfContext;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_user};

const S_IFMT: u32 = 0o170000;
const S_IFSOCK: u32 = 0o140000;
pub const SOCK_STREAM: u32 = 1;
pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;

/// The value at `address + offset` in kernel memory, or zero.
#[inline(always)]
pub fn read<T: Copy>(address: u64, offset: u32) -> T {
    // SAFETY: all zero is a value of the integers and byte arrays that this is used for.
    let mut value: T = unsafe { core::mem::zeroed() };
    let from = (address + u64::from(offset)) as *const c_void;
    // SAFETY: the destination is a live local of the given size; the helper checks the source and
    // zeroes the destination when it can't be read.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from) };
    value
}

/// The value at `address` in the memory of the current process, or zero.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> T {
    // SAFETY: as in `read`.
    let mut value: T = unsafe { core::mem::zeroed() };
    // SAFETY: as in `read`, with the user-memory helper.
    unsafe {
        bpf_probe_read_user(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            address as *const c_void,
        )
    };
    value
}

#[inline(always)]
pub fn current_task() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task() }
}

/// The system call that `regs` (`struct pt_regs`) belongs to.
#[inline(always)]
pub fn syscall_number(regs: u64) -> u32 {
    read::<u32>(regs, offsets().regs_nr)
}

/// Argument `n` of the system call; the kernel keeps them in `pt_regs` until the call returns.
#[inline(always)]
pub fn syscall_argument(regs: u64, n: usize) -> u64 {
    read::<u64>(regs, offsets().regs_arg[n])
}

/// Argument `n` of the kernel's or a library's function at whose begin a probe is.
#[inline(always)]
pub fn call_argument(ctx: &impl EbpfContext, n: usize) -> u64 {
    read(ctx.as_ptr() as u64, offsets().call_arg[n])
}

/// What the function returned at whose end a probe is.
#[inline(always)]
pub fn call_result(ctx: &impl EbpfContext) -> u64 {
    read(ctx.as_ptr() as u64, offsets().call_result)
}

/// A stream socket behind a file descriptor.
pub struct Socket {
    pub sock: u64,
    pub inode: u64,
    pub family: u16,
}

/// The stream socket that `fd` of the current process is, if it is one.
#[inline(always)]
pub fn socket_of(fd: u64) -> Option<Socket> {
    let at = offsets();
    let fd = fd as u32;
    let files: u64 = read(current_task(), at.task_files);
    let table: u64 = read(files, at.files_fdt);
    if fd >= read::<u32>(table, at.fdt_max_fds) {
        return None;
    }
    let array: u64 = read(table, at.fdt_fd);
    let file: u64 = read(array + u64::from(fd) * 8, 0);
    if file == 0 {
        return None;
    }
    let inode: u64 = read(file, at.file_inode);
    if u32::from(read::<u16>(inode, at.inode_mode)) & S_IFMT != S_IFSOCK {
        return None;
    }
    let socket: u64 = read(file, at.file_private_data);
    if u32::from(read::<u16>(socket, at.socket_type)) != SOCK_STREAM {
        return None;
    }
    let sock: u64 = read(socket, at.socket_sk);
    let family: u16 = read(sock, at.sock_family);
    if sock == 0 || !(family == AF_INET || family == AF_INET6 || family == AF_UNIX) {
        return None;
    }
    Some(Socket {
        sock,
        inode: read(inode, at.inode_ino),
        family,
    })
}

/// The stream socket of a `struct socket`.
#[inline(always)]
pub fn socket(socket: u64) -> Socket {
    let at = offsets();
    let sock: u64 = read(socket, at.socket_sk);
    Socket {
        sock,
        // `struct socket_alloc`: the socket first, its inode behind.
        inode: read(socket, at.socket_alloc_inode + at.inode_ino),
        family: read(sock, at.sock_family),
    }
}

/// As [`socket`], from the `struct sock` of a call that holds its file.
#[inline(always)]
pub fn socket_of_sock(sock: u64) -> Socket {
    socket(read(sock, offsets().sock_socket))
}

/// Whether this kernel says where its pages are mapped.
#[inline(always)]
pub fn knows_pages() -> bool {
    offsets().page_size_log2 != 0
}

/// Where a page is mapped; 0, which cannot be read, when this kernel does not say.
#[inline(always)]
pub fn page_address(page: u64, offset: u64) -> u64 {
    let at = offsets();
    if !knows_pages() || page == 0 {
        return 0;
    }
    let first: u64 = read(at.vmemmap_base, 0);
    let map: u64 = read(at.page_offset_base, 0);
    map + ((page - first) >> at.page_size_log2 << PAGE_SHIFT) + offset
}

const PAGE_SHIFT: u32 = 12;

/// How a system call moves bytes.
#[derive(Clone, Copy, Eq, PartialEq)]
pub enum Layout {
    /// `(fd, buffer, length, flags)`
    Buffer,
    /// `(fd, iovec, count)`
    Vector,
    /// `(fd, msghdr, flags)`
    Message,
    /// `(fd, mmsghdr, count, flags)`
    Messages,
    /// No user memory; the descriptor is argument 0.
    Opaque,
}

/// Layout and direction (`true` when sent) of a system call, if it is one that moves bytes.
#[inline(always)]
pub fn data_syscall(number: u32) -> Option<(Layout, bool)> {
    let s = syscalls();
    match number {
        n if n == s.read || n == s.recvfrom => Some((Layout::Buffer, false)),
        n if n == s.write || n == s.sendto => Some((Layout::Buffer, true)),
        n if n == s.readv => Some((Layout::Vector, false)),
        n if n == s.writev => Some((Layout::Vector, true)),
        n if n == s.recvmsg => Some((Layout::Message, false)),
        n if n == s.sendmsg => Some((Layout::Message, true)),
        n if n == s.recvmmsg => Some((Layout::Messages, false)),
        n if n == s.sendmmsg => Some((Layout::Messages, true)),
        n if n == s.sendfile => Some((Layout::Opaque, true)),
        _ => None,
    }
}
