//! Local processes at the other end of loopback connections.
//!
//! In: connects to watched ports, seen in the connecting process. Out: the client of a connection that the server
//! side describes. A connect whose connection never says anything is forgotten.

use crate::limits;
use audit_common::decode::Conn;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// How long a connect waits for its connection's first bytes.
const KEPT_NS: u64 = 120_000_000_000;

#[derive(Debug, Default)]
pub struct Clients {
    /// By network namespace, client address, server address.
    connects: HashMap<(u32, SocketAddr, SocketAddr), (u32, u64)>,
}

impl Clients {
    pub fn connected(&mut self, conn: &Conn, pid: u32, time_ns: u64) {
        if self.connects.len() >= limits::CONNECTIONS {
            self.expire(time_ns);
        }
        if self.connects.len() < limits::CONNECTIONS
            && let (Some(client), Some(server)) = (local(conn), remote(conn))
        {
            self.connects.insert((conn.netns, client, server), (pid, time_ns));
        }
    }

    /// The pid that made the connection which the server side sees as `conn`.
    pub fn take(&mut self, conn: &Conn) -> Option<u32> {
        let key = (conn.netns, remote(conn)?, local(conn)?);
        self.connects.remove(&key).map(|(pid, _)| pid)
    }

    pub fn expire(&mut self, now_ns: u64) {
        self.connects
            .retain(|_, (_, time_ns)| now_ns.saturating_sub(*time_ns) < KEPT_NS);
    }
}

/// Local address and port of a TCP connection.
pub fn local(conn: &Conn) -> Option<SocketAddr> {
    Some(SocketAddr::new(
        address(conn.family, conn.local_addr)?,
        conn.local_port,
    ))
}

/// Remote address and port of a TCP connection.
pub fn remote(conn: &Conn) -> Option<SocketAddr> {
    Some(SocketAddr::new(
        address(conn.family, conn.remote_addr)?,
        conn.remote_port,
    ))
}

/// IPv4-mapped IPv6 addresses become IPv4, so that both ends of a connection compare equal.
fn address(family: u16, bytes: [u8; 16]) -> Option<IpAddr> {
    const AF_INET: u16 = 2;
    const AF_INET6: u16 = 10;
    match family {
        AF_INET => Some(IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]])),
        AF_INET6 => Some(IpAddr::from(bytes).to_canonical()),
        _ => None,
    }
}
