//! Ring-buffer bytes to [`Event`], with every length checked.
//!
//! In: the bytes of one event, from the kernel or from a capture file. Out: a borrowed view or an
//! [`AbiError`]. Never: a panic, whatever the bytes are.

use crate::abi::{
    CONN_LEN, ConnKey, DATA_LEN, EventHeader, EventKind, FLAG_EOF, FLAG_INSIDE, FLAG_JOINED, FLAG_TX,
    FLAG_UPSTREAM, HEADER_LEN, PROCESS_LEN, SHORTFALL_SHIFT, Shortfall, TLS_LEN,
};

/// Why bytes are not an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AbiError {
    /// Fewer bytes than the layout, or than the lengths inside it, ask for.
    TooShort { need: usize, have: usize },
    /// A kind that this version does not know.
    UnknownKind(u16),
    /// A data event that says it captured more than it stands for.
    BadLength,
}

impl core::fmt::Display for AbiError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooShort { need, have } => write!(f, "event of {have} bytes where {need} are needed"),
            Self::UnknownKind(kind) => write!(f, "unknown event kind {kind}"),
            Self::BadLength => f.write_str("data event captured more than it stands for"),
        }
    }
}

impl core::error::Error for AbiError {}

/// One direction of a connection, seen from the watched process.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Direction {
    Rx,
    Tx,
}

/// Stream bytes; see [`crate::abi::DataEvent`].
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    pub conn: ConnKey,
    pub direction: Direction,
    pub eof: bool,
    /// Of a TLS session: bytes may precede offset 0.
    pub joined: bool,
    pub offset: u64,
    pub stream_len: u32,
    pub shortfall: Shortfall,
    pub bytes: &'a [u8],
}

/// A connection; see [`crate::abi::ConnEvent`].
#[derive(Clone, Copy, Debug)]
pub struct Conn<'a> {
    pub conn: ConnKey,
    pub joined: bool,
    /// The watched process opened it.
    pub upstream: bool,
    pub family: u16,
    pub local_port: u16,
    pub remote_port: u16,
    pub local_addr: [u8; 16],
    pub remote_addr: [u8; 16],
    pub netns: u32,
    pub uid: u32,
    pub inode: u64,
    pub peer_pid: u32,
    pub peer_uid: u32,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Of the watched end of a unix connection, at its opening; empty when it has none.
    pub unix_name: &'a [u8],
}

/// A process; see [`crate::abi::ProcessEvent`].
#[derive(Clone, Copy, Debug)]
pub struct Process<'a> {
    pub pid: u32,
    pub parent_pid: u32,
    pub start_ns: u64,
    pub uid: u32,
    pub comm: [u8; 16],
    pub filename: &'a [u8],
    /// NUL separated.
    pub argv: &'a [u8],
}

/// A TLS session; see [`crate::abi::TlsEvent`].
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    pub session: ConnKey,
    /// None when no socket is known.
    pub conn: Option<ConnKey>,
    /// The socket was used inside the library call.
    pub inside: bool,
    pub joined: bool,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    Data(Data<'a>),
    ConnOpen(Conn<'a>),
    ConnClose(Conn<'a>),
    ConnCounted(Conn<'a>),
    ClientConnect(Conn<'a>),
    Listen(Conn<'a>),
    Fork(Process<'a>),
    Exec(Process<'a>),
    Exit(Process<'a>),
    TlsData(Data<'a>),
    TlsSocket(Tls),
    TlsClose(Tls),
    Mapped(Process<'a>),
}

/// One decoded event.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    pub time_ns: u64,
    pub pid: u32,
    pub tid: u32,
    pub body: Body<'a>,
}

/// Reads fields in order; every read is checked against the length taken at the start.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(bytes: &'a [u8], need: usize) -> Result<Self, AbiError> {
        if bytes.len() < need {
            return Err(AbiError::TooShort {
                need,
                have: bytes.len(),
            });
        }
        Ok(Self(bytes))
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], AbiError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(AbiError::TooShort {
            need: len,
            have: self.0.len(),
        })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AbiError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u16(&mut self) -> Result<u16, AbiError> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32, AbiError> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Result<u64, AbiError> {
        self.array().map(u64::from_ne_bytes)
    }

    fn header(&mut self) -> Result<EventHeader, AbiError> {
        Ok(EventHeader {
            kind: self.u16()?,
            flags: self.u16()?,
            len: self.u32()?,
            time_ns: self.u64()?,
            pid: self.u32()?,
            tid: self.u32()?,
        })
    }

    fn key(&mut self) -> Result<ConnKey, AbiError> {
        Ok(ConnKey {
            sock: self.u64()?,
            generation: self.u64()?,
        })
    }
}

impl<'a> Event<'a> {
    /// Decodes one event; trailing bytes are ignored, since the ring buffer pads to 8.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AbiError> {
        let mut fields = Fields::of(bytes, HEADER_LEN)?;
        let header = fields.header()?;
        let body = match header.kind {
            k if k == EventKind::Data as u16 => Body::Data(data(bytes, &header)?),
            k if k == EventKind::ConnOpen as u16 => Body::ConnOpen(conn(bytes, &header)?),
            k if k == EventKind::ConnClose as u16 => Body::ConnClose(conn(bytes, &header)?),
            k if k == EventKind::ConnCounted as u16 => Body::ConnCounted(conn(bytes, &header)?),
            k if k == EventKind::ClientConnect as u16 => Body::ClientConnect(conn(bytes, &header)?),
            k if k == EventKind::Listen as u16 => Body::Listen(conn(bytes, &header)?),
            k if k == EventKind::Fork as u16 => Body::Fork(process(bytes)?),
            k if k == EventKind::Exec as u16 => Body::Exec(process(bytes)?),
            k if k == EventKind::Exit as u16 => Body::Exit(process(bytes)?),
            k if k == EventKind::TlsData as u16 => Body::TlsData(data(bytes, &header)?),
            k if k == EventKind::TlsSocket as u16 => Body::TlsSocket(tls(bytes, &header)?),
            k if k == EventKind::TlsClose as u16 => Body::TlsClose(tls(bytes, &header)?),
            k if k == EventKind::Mapped as u16 => Body::Mapped(process(bytes)?),
            other => return Err(AbiError::UnknownKind(other)),
        };
        Ok(Self {
            time_ns: header.time_ns,
            pid: header.pid,
            tid: header.tid,
            body,
        })
    }
}

fn shortfall(flags: u16) -> Shortfall {
    match flags >> SHORTFALL_SHIFT {
        0 => Shortfall::None,
        2 => Shortfall::CallTooLarge,
        3 => Shortfall::NotInUserMemory,
        4 => Shortfall::HeadOnly,
        5 => Shortfall::Discarded,
        6 => Shortfall::Unseen,
        _ => Shortfall::Fault,
    }
}

fn data<'a>(bytes: &'a [u8], header: &EventHeader) -> Result<Data<'a>, AbiError> {
    let mut fields = Fields::of(bytes, DATA_LEN)?;
    fields.header()?;
    let conn = fields.key()?;
    let offset = fields.u64()?;
    let stream_len = fields.u32()?;
    let captured_len = fields.u32()?;
    if captured_len > stream_len {
        return Err(AbiError::BadLength);
    }
    Ok(Data {
        conn,
        direction: if header.flags & FLAG_TX != 0 {
            Direction::Tx
        } else {
            Direction::Rx
        },
        eof: header.flags & FLAG_EOF != 0,
        joined: header.flags & FLAG_JOINED != 0,
        offset,
        stream_len,
        shortfall: shortfall(header.flags),
        bytes: fields.take(captured_len as usize)?,
    })
}

fn conn<'a>(bytes: &'a [u8], header: &EventHeader) -> Result<Conn<'a>, AbiError> {
    let mut fields = Fields::of(bytes, CONN_LEN)?;
    fields.header()?;
    let conn = fields.key()?;
    let (family, local_port, remote_port, name_len) =
        (fields.u16()?, fields.u16()?, fields.u16()?, fields.u16()?);
    Ok(Conn {
        conn,
        joined: header.flags & FLAG_JOINED != 0,
        upstream: header.flags & FLAG_UPSTREAM != 0,
        family,
        local_port,
        remote_port,
        local_addr: fields.array()?,
        remote_addr: fields.array()?,
        netns: fields.u32()?,
        uid: fields.u32()?,
        inode: fields.u64()?,
        peer_pid: fields.u32()?,
        peer_uid: fields.u32()?,
        rx_bytes: fields.u64()?,
        tx_bytes: fields.u64()?,
        unix_name: fields.take(name_len.into())?,
    })
}

fn tls(bytes: &[u8], header: &EventHeader) -> Result<Tls, AbiError> {
    let mut fields = Fields::of(bytes, TLS_LEN)?;
    fields.header()?;
    let (session, conn) = (fields.key()?, fields.key()?);
    Ok(Tls {
        session,
        conn: (conn.sock != 0).then_some(conn),
        inside: header.flags & FLAG_INSIDE != 0,
        joined: header.flags & FLAG_JOINED != 0,
        rx_bytes: fields.u64()?,
        tx_bytes: fields.u64()?,
    })
}

fn process(bytes: &[u8]) -> Result<Process<'_>, AbiError> {
    let mut fields = Fields::of(bytes, PROCESS_LEN)?;
    fields.header()?;
    let (pid, parent_pid, start_ns, uid) = (fields.u32()?, fields.u32()?, fields.u64()?, fields.u32()?);
    let (filename_len, argv_len) = (fields.u16()?, fields.u16()?);
    Ok(Process {
        pid,
        parent_pid,
        start_ns,
        uid,
        comm: fields.array()?,
        filename: fields.take(filename_len.into())?,
        argv: fields.take(argv_len.into())?,
    })
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn event(kind: u16, flags: u16, rest: &[u8]) -> std::vec::Vec<u8> {
        let mut bytes = std::vec::Vec::new();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(((HEADER_LEN + rest.len()) as u32).to_ne_bytes());
        bytes.extend(7u64.to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes());
        bytes.extend(2u32.to_ne_bytes());
        bytes.extend(rest);
        bytes
    }

    fn data_event(stream_len: u32, payload: &[u8]) -> std::vec::Vec<u8> {
        let mut rest = std::vec::Vec::new();
        rest.extend(9u64.to_ne_bytes());
        rest.extend(4u64.to_ne_bytes());
        rest.extend(100u64.to_ne_bytes());
        rest.extend(stream_len.to_ne_bytes());
        rest.extend((payload.len() as u32).to_ne_bytes());
        rest.extend(payload);
        event(1, FLAG_TX, &rest)
    }

    #[test]
    fn reads_a_data_event() {
        let bytes = data_event(8, b"abcd");
        let Body::Data(data) = Event::parse(&bytes).unwrap().body else {
            panic!("not data")
        };
        assert_eq!((data.offset, data.stream_len, data.bytes), (100, 8, &b"abcd"[..]));
        assert_eq!(data.direction, Direction::Tx);
    }

    #[test]
    fn reads_the_name_behind_a_connection() {
        let mut rest = std::vec![0; CONN_LEN - HEADER_LEN];
        rest[22..24].copy_from_slice(&3u16.to_ne_bytes());
        rest.extend(b"/ab");
        let bytes = event(2, 0, &rest);
        let Body::ConnOpen(conn) = Event::parse(&bytes).unwrap().body else {
            panic!("no opening")
        };
        assert_eq!(conn.unix_name, b"/ab");
        assert!(Event::parse(&bytes[..bytes.len() - 1]).is_err());
    }

    #[test]
    fn refuses_every_cut_of_an_event() {
        let bytes = data_event(8, b"abcd");
        for cut in 0..bytes.len() {
            assert!(
                matches!(Event::parse(&bytes[..cut]), Err(AbiError::TooShort { .. })),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn refuses_more_captured_than_the_stream_held() {
        assert_eq!(
            Event::parse(&data_event(2, b"abcd")).unwrap_err(),
            AbiError::BadLength
        );
    }

    #[test]
    fn names_an_unknown_kind() {
        assert_eq!(
            Event::parse(&event(99, 0, &[])).unwrap_err(),
            AbiError::UnknownKind(99)
        );
    }
}
