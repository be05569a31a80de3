//! Events as they lie in the ring buffer and in capture files.
//!
//! Sizes are bytes, times are nanoseconds of `CLOCK_BOOTTIME`, addresses are network order,
//! ports are host order, pids are thread-group ids in the initial pid namespace.

/// Version of every layout in this module; a capture file carries it.
pub const ABI_VERSION: u16 = 1;

/// Payload bytes in one data event at most. A per-CPU map value may be 32 KiB at most
/// (`PCPU_MIN_UNIT_SIZE`), and the verifier wants a power of two to bound a length by a mask.
pub const CHUNK_MAX: usize = 16 * 1024;

/// Bytes of `argv` kept from an exec, NUL separated as the kernel lays them out.
pub const ARGV_MAX: usize = 1024;

/// Bytes of a unix socket's name at most: `sizeof(sun_path)`.
pub const UNIX_NAME_MAX: usize = 108;

/// What an event is. Append-only: a number is never used again.
#[repr(u16)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EventKind {
    /// Stream bytes ([`DataEvent`] and payload).
    Data = 1,
    /// First sight of a connection that a server accepted, or opened itself ([`ConnEvent`]).
    ConnOpen = 2,
    /// A connection ended ([`ConnEvent`] with the final byte counts).
    ConnClose = 3,
    /// A local process connected to a watched listener ([`ConnEvent`], client's view).
    ClientConnect = 4,
    /// A process listens on a stream socket ([`ConnEvent`], local address only).
    Listen = 5,
    /// A process was forked ([`ProcessEvent`]).
    Fork = 6,
    /// A process executed a program ([`ProcessEvent`], then file name and argv).
    Exec = 7,
    /// A process ended ([`ProcessEvent`]).
    Exit = 8,
    /// Plaintext that a TLS library took or gave ([`DataEvent`] whose connection is the TLS session).
    TlsData = 9,
    /// Which socket a TLS session uses, when that is new or changed ([`TlsEvent`]).
    TlsSocket = 10,
    /// A TLS session's object was freed ([`TlsEvent`] with the final byte counts).
    TlsClose = 11,
    /// A watched process mapped an executable file, a library for example ([`ProcessEvent`]).
    Mapped = 12,
    /// TCP moved more on a connection that ends than the programs saw ([`ConnEvent`] with TCP's own byte counts); its
    /// `ConnClose` follows if it was ever seen.
    ConnCounted = 13,
}

/// Flags of a [`DataEvent`]: set when the watched process sent the bytes, clear when it received them.
pub const FLAG_TX: u16 = 1;
/// Flags of a [`DataEvent`]: a read returned 0, the peer will send no more. No bytes.
pub const FLAG_EOF: u16 = 2;
/// Flags of a [`ConnEvent`] or of a TLS session's events: it was older than its first sight, so bytes may precede
/// offset 0.
pub const FLAG_JOINED: u16 = 4;
/// Flags of a [`TlsEvent`]: the socket was used inside the library call itself, not before it by the same thread.
pub const FLAG_INSIDE: u16 = 8;
/// Flags of a [`ConnEvent`]: the watched process opened the connection.
pub const FLAG_UPSTREAM: u16 = 16;
/// Where the [`Shortfall`] stands in the flags of a [`DataEvent`].
pub const SHORTFALL_SHIFT: u16 = 8;

/// Why a data event holds fewer bytes than were on the stream.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shortfall {
    /// All bytes are here.
    None = 0,
    /// The user memory could not be read.
    Fault = 1,
    /// One call moved more, or in more buffers, than the programs follow.
    CallTooLarge = 2,
    /// sendfile or splice: the bytes never were in user memory.
    NotInUserMemory = 3,
    /// The listener is under a head-only verdict.
    HeadOnly = 4,
    /// The receiver discarded the bytes (`MSG_TRUNC`).
    Discarded = 5,
    /// TCP moved the bytes, and no program saw the call.
    Unseen = 6,
}

/// Head of every event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// [`EventKind`].
    pub kind: u16,
    /// `FLAG_*` bits.
    pub flags: u16,
    /// Bytes of the whole event.
    pub len: u32,
    pub time_ns: u64,
    /// Process in whose context the event was seen; not the owner for state changes by a timer.
    pub pid: u32,
    pub tid: u32,
}

/// Identity of a connection: the address of its `struct sock` and the time of its first sight,
/// which tells apart two sockets that had the same address one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConnKey {
    pub sock: u64,
    pub generation: u64,
}

/// Bytes of one direction of one connection; `captured_len` payload bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DataEvent {
    pub header: EventHeader,
    pub conn: ConnKey,
    /// Offset of the first byte in its direction, from the first sight of the connection.
    pub offset: u64,
    /// Bytes of the stream that the event stands for; those after `captured_len` are missing.
    pub stream_len: u32,
    pub captured_len: u32,
}

/// A connection's addresses and counters; at the opening of a unix connection `name_len` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ConnEvent {
    pub header: EventHeader,
    pub conn: ConnKey,
    /// `AF_INET` 2, `AF_INET6` 10, `AF_UNIX` 1.
    pub family: u16,
    pub local_port: u16,
    pub remote_port: u16,
    /// Bytes of a unix socket's name that follow: `sun_path`, whose first byte is 0 where it is abstract (unix(7)).
    pub name_len: u16,
    /// IPv4 in the first 4 bytes.
    pub local_addr: [u8; 16],
    pub remote_addr: [u8; 16],
    /// Inode of the network namespace.
    pub netns: u32,
    /// Effective user id of the process.
    pub uid: u32,
    /// Inode of the socket, 0 when no file is attached to it.
    pub inode: u64,
    /// `SO_PEERCRED` of a unix socket, 0 for TCP.
    pub peer_pid: u32,
    pub peer_uid: u32,
    /// Bytes received and sent since first sight, whether they were captured or not.
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// A TLS session: the library's object (`SSL *`, as the key's `sock`) and the time of its first sight. The process is
/// the header's: two processes may have an object at the same address.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TlsEvent {
    pub header: EventHeader,
    pub session: ConnKey,
    /// The socket's connection; all zero when it is not known.
    pub conn: ConnKey,
    /// Plaintext bytes read and written since first sight, whether they were captured or not.
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

/// A process; for an exec `filename_len` and then `argv_len` bytes follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessEvent {
    pub header: EventHeader,
    /// The process that was forked, executed or ended.
    pub pid: u32,
    pub parent_pid: u32,
    /// Start of the process, the other half of its identity.
    pub start_ns: u64,
    pub uid: u32,
    pub filename_len: u16,
    pub argv_len: u16,
    pub comm: [u8; 16],
}

pub const HEADER_LEN: usize = size_of::<EventHeader>();
pub const DATA_LEN: usize = size_of::<DataEvent>();
pub const CONN_LEN: usize = size_of::<ConnEvent>();
pub const PROCESS_LEN: usize = size_of::<ProcessEvent>();
pub const TLS_LEN: usize = size_of::<TlsEvent>();

const _: () = assert!(HEADER_LEN == 24 && DATA_LEN == 56 && CONN_LEN == 120 && PROCESS_LEN == 64);
const _: () = assert!(TLS_LEN == 72);
