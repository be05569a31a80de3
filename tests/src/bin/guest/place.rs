//! Where a server listens: address families, unix sockets, network namespaces.
//!
//! In: a place by its text. Out: a listener or a connection there.

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, setsockopt, socket, sockopt,
};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::Path;

/// Kinds of places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    V4,
    V6,
    /// A socket of IPv6 that takes IPv4 connections too.
    Mapped,
    UnixPath,
    UnixAbstract,
    /// IPv4 in a network namespace of the server's own.
    Namespace,
}

impl Family {
    pub fn is_tcp(self) -> bool {
        !matches!(self, Self::UnixPath | Self::UnixAbstract)
    }
}

/// A place of this family that nobody uses; `name` is for unix sockets, which have no number.
pub fn free(family: Family, dir: &Path, name: &str) -> Result<String> {
    Ok(match family {
        Family::V4 => format!("127.0.0.1:{}", free_port()?),
        Family::V6 => format!("[::1]:{}", free_port()?),
        Family::Mapped => format!("[::]:{}", free_port()?),
        Family::UnixPath => format!("{}/{name}.sock", dir.display()),
        Family::UnixAbstract => format!("@{name}{}", dir.display()),
        Family::Namespace => format!("ns 127.0.0.1:{}", free_port()?),
    })
}

/// A port that was free a moment ago. Whoever listens is watched, and so are its children: this program must not.
fn free_port() -> Result<u16> {
    let made = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    bind(made.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    Ok(getsockname::<SockaddrIn>(made.as_raw_fd())?.port())
}

#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens at `place`, shared with whoever else does so if it is a port.
    pub fn at(place: &str) -> Result<Self> {
        if let Some(name) = place.strip_prefix('@') {
            return Ok(Self::Unix(UnixListener::bind_addr(
                &UnixAddr::from_abstract_name(name)?,
            )?));
        }
        if place.starts_with('/') {
            return Ok(Self::Unix(UnixListener::bind(place)?));
        }
        let address = match place.strip_prefix("ns ") {
            Some(address) => {
                unshare(CloneFlags::CLONE_NEWNET)?;
                loopback_up()?;
                address
            }
            None => place,
        };
        listen(address.parse()?).map(Self::Tcp)
    }

    pub fn accept(&self) -> Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(listener) => listener.accept()?.0.into(),
            Self::Unix(listener) => listener.accept()?.0.into(),
        })
    }
}

/// Listens with `SO_REUSEPORT`.
fn listen(address: SocketAddr) -> Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let made = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&made, sockopt::ReusePort, &true)?;
    setsockopt(&made, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&made, sockopt::Ipv6V6Only, &false)?;
    }
    let storage = nix::sys::socket::SockaddrStorage::from(address);
    bind(made.as_raw_fd(), &storage)?;
    nix::sys::socket::listen(&made, nix::sys::socket::Backlog::new(64)?)?;
    Ok(made.into())
}

/// A new network namespace has its loopback down.
fn loopback_up() -> Result<()> {
    let made = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
    // SAFETY: all zero is a request without name and flags.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: the request lives and is what this call reads.
    if unsafe { libc::ioctl(made.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } != 0 {
        bail!("the loopback stays down: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

/// A client's end.
#[derive(Debug)]
pub struct Connected {
    pub socket: File,
    /// The address and port that the server sees; None for unix sockets.
    pub from: Option<SocketAddr>,
}

/// Connects to the server `pid` at `place`.
pub fn connect(place: &str, pid: u32) -> Result<Connected> {
    if let Some(name) = place.strip_prefix('@') {
        return unix(UnixStream::connect_addr(&UnixAddr::from_abstract_name(name)?)?);
    }
    if place.starts_with('/') {
        return unix(UnixStream::connect(place)?);
    }
    let Some(address) = place.strip_prefix("ns ") else {
        // Every address is the loopback's, by IPv4 where both would do.
        return tcp(&place.replace("[::]", "127.0.0.1"));
    };
    let (address, namespace) = (address.to_owned(), File::open(format!("/proc/{pid}/ns/net"))?);
    let there = std::thread::spawn(move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        tcp(&address)
    });
    there.join().ok().context("the connecting thread panicked")?
}

fn tcp(address: &str) -> Result<Connected> {
    let stream = TcpStream::connect(address)?;
    let from = Some(stream.local_addr()?);
    Ok(Connected {
        socket: File::from(OwnedFd::from(stream)),
        from,
    })
}

fn unix(stream: UnixStream) -> Result<Connected> {
    Ok(Connected {
        socket: File::from(OwnedFd::from(stream)),
        from: None,
    })
}

/// The descriptor that a message brought.
pub fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just made the descriptor for this process, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
