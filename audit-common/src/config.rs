//! What userspace tells the kernel programs: structure offsets at load, verdicts at run time.

use crate::abi::ConnKey;

/// Byte offsets in kernel structures, resolved from BTF at load (Rust has no CO-RE relocations).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Offsets {
    /// `pt_regs`: the system call number and its six arguments.
    pub regs_nr: u32,
    pub regs_arg: [u32; 6],
    pub task_files: u32,
    pub task_mm: u32,
    pub task_start_boottime: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_real_parent: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub files_fdt: u32,
    pub fdt_max_fds: u32,
    pub fdt_fd: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_ino: u32,
    pub socket_sk: u32,
    pub socket_type: u32,
    pub sock_family: u32,
    pub sock_state: u32,
    pub sock_daddr: u32,
    pub sock_rcv_saddr: u32,
    pub sock_dport: u32,
    pub sock_num: u32,
    pub sock_v6_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_net: u32,
    pub sock_peer_pid: u32,
    pub sock_peer_cred: u32,
    pub net_ns_inum: u32,
    pub pid_nr: u32,
    pub cred_uid: u32,
    pub bprm_filename: u32,
    pub sock_socket: u32,
    pub socket_alloc_inode: u32,
    pub msghdr_iter: u32,
    pub iter_type: u32,
    /// Bytes of the member that says the kind: 1, or 4 with the direction in its lowest bit (before Linux 5.14).
    pub iter_type_len: u32,
    pub iter_offset: u32,
    pub iter_segments: u32,
    pub iter_vector: u32,
    /// Where it is apart from `iter_vector` (since Linux 6.0).
    pub iter_ubuf: u32,
    /// Values of the kinds; [`NO_KIND`] for one that this kernel lacks.
    pub iter_kind_ubuf: u32,
    pub iter_kind_iovec: u32,
    pub iter_kind_kvec: u32,
    pub iter_kind_bvec: u32,
    /// `sizeof(struct page)` is 2 to this; 0 when pages cannot be read.
    pub page_size_log2: u32,
    /// `pt_regs`: a function's arguments at its begin, and what it returned at its end.
    pub call_arg: [u32; 6],
    pub call_result: u32,
    pub sock_flags: u32,
    /// Where a unix socket's name is; all 0 where the kernel's BTF does not say.
    pub unix_addr: u32,
    pub unix_addr_len: u32,
    pub unix_addr_name: u32,
    /// TCP's own numbers and what they hold for; all 0 where the kernel's BTF does not say.
    pub sock_protocol: u32,
    pub sock_ulp_ops: u32,
    pub tcp_rcv_nxt: u32,
    pub tcp_copied_seq: u32,
    pub tcp_write_seq: u32,
    /// Addresses of the variables that say where pages and their descriptions are mapped.
    pub page_offset_base: u64,
    pub vmemmap_base: u64,
}

/// No kind of `iov_iter` has this value.
pub const NO_KIND: u32 = u32::MAX;

impl Offsets {
    /// What the object file holds until the loader sets the real ones.
    pub const ZERO: Self = Self {
        regs_nr: 0,
        regs_arg: [0; 6],
        task_files: 0,
        task_mm: 0,
        task_start_boottime: 0,
        task_tgid: 0,
        task_pid: 0,
        task_real_parent: 0,
        task_signal: 0,
        signal_live: 0,
        mm_arg_start: 0,
        mm_arg_end: 0,
        files_fdt: 0,
        fdt_max_fds: 0,
        fdt_fd: 0,
        file_inode: 0,
        file_private_data: 0,
        inode_mode: 0,
        inode_ino: 0,
        socket_sk: 0,
        socket_type: 0,
        sock_family: 0,
        sock_state: 0,
        sock_daddr: 0,
        sock_rcv_saddr: 0,
        sock_dport: 0,
        sock_num: 0,
        sock_v6_daddr: 0,
        sock_v6_rcv_saddr: 0,
        sock_net: 0,
        sock_peer_pid: 0,
        sock_peer_cred: 0,
        net_ns_inum: 0,
        pid_nr: 0,
        cred_uid: 0,
        bprm_filename: 0,
        sock_socket: 0,
        socket_alloc_inode: 0,
        msghdr_iter: 0,
        iter_type: 0,
        iter_type_len: 0,
        iter_offset: 0,
        iter_segments: 0,
        iter_vector: 0,
        iter_ubuf: 0,
        iter_kind_ubuf: 0,
        iter_kind_iovec: 0,
        iter_kind_kvec: 0,
        iter_kind_bvec: 0,
        page_size_log2: 0,
        call_arg: [0; 6],
        call_result: 0,
        sock_flags: 0,
        unix_addr: 0,
        unix_addr_len: 0,
        unix_addr_name: 0,
        sock_protocol: 0,
        sock_ulp_ops: 0,
        tcp_rcv_nxt: 0,
        tcp_copied_seq: 0,
        tcp_write_seq: 0,
        page_offset_base: 0,
        vmemmap_base: 0,
    };
}

/// System call numbers of the machine, so that one object serves every architecture.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Syscalls {
    pub read: u32,
    pub write: u32,
    pub readv: u32,
    pub writev: u32,
    pub recvfrom: u32,
    pub sendto: u32,
    pub recvmsg: u32,
    pub sendmsg: u32,
    pub recvmmsg: u32,
    pub sendmmsg: u32,
    pub sendfile: u32,
    pub splice: u32,
    pub mmap: u32,
}

impl Syscalls {
    /// What the object file holds until the loader sets the real ones.
    pub const ZERO: Self = Self {
        read: 0,
        write: 0,
        readv: 0,
        writev: 0,
        recvfrom: 0,
        sendto: 0,
        recvmsg: 0,
        sendmsg: 0,
        recvmmsg: 0,
        sendmmsg: 0,
        sendfile: 0,
        splice: 0,
        mmap: 0,
    };
}

/// What to do with a connection's bytes.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Not judged yet: everything is sent.
    Undecided = 0,
    /// Everything is sent.
    Watch = 1,
    /// Nothing is sent.
    Ignore = 2,
    /// Only the first [`HEAD_ONLY_LEN`] bytes of each read are sent, nothing of what is written.
    HeadOnly = 3,
    /// Nothing is sent and everything is counted: ciphertext, whose plaintext comes from the TLS library.
    Counted = 4,
}

/// Value of a process on the allow-list: its sockets are looked at.
pub const PROCESS_WATCHED: u32 = 1;
/// Probes are attached to a TLS library of the process, so that its sockets are noted for them too.
pub const PROCESS_TLS: u32 = 2;
/// The process serves: it listens itself, or was forked by one that does and has not executed anything else since. The
/// connections that it opens are looked at too.
pub const PROCESS_SERVES: u32 = 4;

/// Bytes of each read that are sent under [`Verdict::HeadOnly`]; a request line fits.
pub const HEAD_ONLY_LEN: usize = 256;

/// State of one connection in the kernel's map.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConnState {
    pub generation: u64,
    /// Inode of the socket, 0 until a file was seen on it.
    pub inode: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// TCP's sequence number behind the last byte that was received and sent, with [`SEQUENCE_KNOWN`]; 0 when it is not known.
    pub rx_sequence: u64,
    pub tx_sequence: u64,
    /// Of the listener, when the connection was made.
    pub verdict: u32,
    /// `CONN_*` bits.
    pub flags: u32,
}

/// Stands above the 32 bits of a sequence number in [`ConnState`].
pub const SEQUENCE_KNOWN: u64 = 1 << 32;

/// `ConnOpen` was sent.
pub const CONN_ANNOUNCED: u32 = 1;
/// The watched process opened it: it sends requests and receives responses.
pub const CONN_UPSTREAM: u32 = 2;
/// It is older than its first sight.
pub const CONN_JOINED: u32 = 4;
/// It has ended; another socket may be at its address by now.
pub const CONN_CLOSED: u32 = 8;
/// Where the local port stands in the flags: the kernel forgets it before it tells of the end.
pub const CONN_PORT_SHIFT: u32 = 16;

/// Userspace's judgement of one connection; void when the generation is another's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConnVerdict {
    pub generation: u64,
    pub verdict: u32,
    pub reserved: u32,
}

/// What a TLS session is known by in the kernel's maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TlsId {
    /// Address of the library's object.
    pub object: u64,
    pub pid: u32,
    pub reserved: u32,
}

/// State of one TLS session in the kernel's map.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsSession {
    pub generation: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// The connection that was last said to carry it; all zero when none was.
    pub conn: ConnKey,
    /// 1 when the session is older than its first sight.
    pub joined: u64,
}
