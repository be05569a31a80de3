//! What the worker may ask of the monitor: a few kinds of question, each of one fixed layout.
//!
//! In and out: [`Question`]s and their [`LEN`] bytes. Never: text or a length from the worker; a value that is not one of these.

use crate::pipeline::Output;
use crate::pipeline::tls::SessionId;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of one question; a message holds any number of them.
///
/// Little endian: kind (u16), port (u16), pid (u32), socket and generation (u64 each), verdict or yes and no (u32), then local and remote
/// address, each of family (u16: 0, 4, 6), port (u16) and 16 bytes.
pub const LEN: usize = 72;

/// Told or asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Question {
    /// Load the programs, and hand over the ring buffer with who records.
    Start,
    /// Watch what listens already; answered with the processes.
    Seed,
    /// State of the machine, the kernel's losses, weights that changed.
    Refresh,
    /// The kernel's losses.
    Losses,
    Verdict {
        conn: ConnKey,
        verdict: Verdict,
    },
    Listener {
        port: u16,
        verdict: Verdict,
    },
    Forget(ConnKey),
    TlsVerdict {
        id: SessionId,
        verdict: Verdict,
    },
    ForgetTls {
        id: SessionId,
    },
    Process {
        pid: u32,
    },
    Models {
        pid: u32,
    },
    Peer {
        conn: ConnKey,
        local: SocketAddr,
        remote: SocketAddr,
    },
    Sync(ConnKey),
    Tls {
        pid: u32,
    },
    TlsSync {
        id: SessionId,
    },
    Upstream {
        pid: u32,
        follow: bool,
    },
}

impl Question {
    /// What `output` asks for; the output itself when it is the worker's own to carry out.
    pub fn of(output: Output) -> Result<Self, Output> {
        Ok(match output {
            Output::Verdict { conn, verdict } => Self::Verdict { conn, verdict },
            Output::Listener { port, verdict } => Self::Listener { port, verdict },
            Output::Forget(conn) => Self::Forget(conn),
            Output::TlsVerdict { id, verdict } => Self::TlsVerdict { id, verdict },
            Output::ForgetTls { id } => Self::ForgetTls { id },
            Output::NeedProcess { pid } => Self::Process { pid },
            Output::NeedModels { pid } => Self::Models { pid },
            Output::NeedPeer { conn, local, remote } => Self::Peer { conn, local, remote },
            Output::NeedSync(conn) => Self::Sync(conn),
            Output::NeedTlsSync { id } => Self::TlsSync { id },
            Output::Upstream { pid, follow } => Self::Upstream { pid, follow },
            own @ (Output::Record { .. } | Output::Content(_) | Output::NeedTls { .. }) => return Err(own),
        })
    }

    /// Whether the monitor answers it. The others are told: the worker goes on at once.
    pub fn is_answered(self) -> bool {
        !matches!(
            self,
            Self::Verdict { .. }
                | Self::Listener { .. }
                | Self::Forget(_)
                | Self::TlsVerdict { .. }
                | Self::ForgetTls { .. }
                | Self::Upstream { .. }
        )
    }

    pub fn encode(self) -> [u8; LEN] {
        let mut fields = Fields::default();
        fields.kind = match self {
            Self::Start => 1,
            Self::Seed => 2,
            Self::Refresh => 3,
            Self::Losses => 4,
            Self::Verdict { conn, verdict } => {
                fields.verdict = verdict as u32;
                fields.on(5, conn)
            }
            Self::Listener { port, verdict } => {
                (fields.port, fields.verdict) = (port, verdict as u32);
                6
            }
            Self::Forget(conn) => fields.on(7, conn),
            Self::TlsVerdict { id, verdict } => {
                fields.verdict = verdict as u32;
                fields.of_session(8, id)
            }
            Self::ForgetTls { id } => fields.of_session(9, id),
            Self::Process { pid } => fields.about(10, pid),
            Self::Models { pid } => fields.about(11, pid),
            Self::Peer { conn, local, remote } => {
                (fields.local, fields.remote) = (Some(local), Some(remote));
                fields.on(12, conn)
            }
            Self::Sync(conn) => fields.on(13, conn),
            Self::Tls { pid } => fields.about(14, pid),
            Self::TlsSync { id } => fields.of_session(15, id),
            Self::Upstream { pid, follow } => {
                fields.verdict = u32::from(follow);
                fields.about(16, pid)
            }
        };
        fields.encode()
    }

    /// None for what is no question.
    pub fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let fields = Fields::decode(bytes)?;
        let Fields { port, pid, .. } = fields;
        let conn = ConnKey {
            sock: fields.sock,
            generation: fields.generation,
        };
        let id = SessionId { pid, session: conn };
        Some(match fields.kind {
            1 => Self::Start,
            2 => Self::Seed,
            3 => Self::Refresh,
            4 => Self::Losses,
            5 => Self::Verdict {
                conn,
                verdict: fields.verdict()?,
            },
            6 => Self::Listener {
                port,
                verdict: fields.verdict()?,
            },
            7 => Self::Forget(conn),
            8 => Self::TlsVerdict {
                id,
                verdict: fields.verdict()?,
            },
            9 => Self::ForgetTls { id },
            10 => Self::Process { pid },
            11 => Self::Models { pid },
            12 => Self::Peer {
                conn,
                local: fields.local?,
                remote: fields.remote?,
            },
            13 => Self::Sync(conn),
            14 => Self::Tls { pid },
            15 => Self::TlsSync { id },
            16 => Self::Upstream {
                pid,
                follow: match fields.verdict {
                    0 => false,
                    1 => true,
                    _ => return None,
                },
            },
            _ => return None,
        })
    }
}

const VERDICTS: [Verdict; 5] = [
    Verdict::Undecided,
    Verdict::Watch,
    Verdict::Ignore,
    Verdict::HeadOnly,
    Verdict::Counted,
];

#[derive(Debug, Default)]
struct Fields {
    kind: u16,
    port: u16,
    pid: u32,
    sock: u64,
    generation: u64,
    verdict: u32,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
}

impl Fields {
    fn on(&mut self, kind: u16, conn: ConnKey) -> u16 {
        (self.sock, self.generation) = (conn.sock, conn.generation);
        kind
    }

    fn of_session(&mut self, kind: u16, id: SessionId) -> u16 {
        self.pid = id.pid;
        self.on(kind, id.session)
    }

    fn about(&mut self, kind: u16, pid: u32) -> u16 {
        self.pid = pid;
        kind
    }

    fn verdict(&self) -> Option<Verdict> {
        VERDICTS
            .into_iter()
            .find(|verdict| *verdict as u32 == self.verdict)
    }

    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            if let Some((head, tail)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                head.copy_from_slice(field);
                rest = tail;
            }
        };
        put(&self.kind.to_le_bytes());
        put(&self.port.to_le_bytes());
        put(&self.pid.to_le_bytes());
        put(&self.sock.to_le_bytes());
        put(&self.generation.to_le_bytes());
        put(&self.verdict.to_le_bytes());
        for address in [self.local, self.remote] {
            let (family, port, ip) = address_fields(address);
            put(&family.to_le_bytes());
            put(&port.to_le_bytes());
            put(&ip);
        }
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        let mut rest = bytes.as_slice();
        Some(Self {
            kind: u16::from_le_bytes(take(&mut rest)?),
            port: u16::from_le_bytes(take(&mut rest)?),
            pid: u32::from_le_bytes(take(&mut rest)?),
            sock: u64::from_le_bytes(take(&mut rest)?),
            generation: u64::from_le_bytes(take(&mut rest)?),
            verdict: u32::from_le_bytes(take(&mut rest)?),
            local: address(&mut rest)?,
            remote: address(&mut rest)?,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

fn address_fields(address: Option<SocketAddr>) -> (u16, u16, [u8; 16]) {
    match address {
        None => (0, 0, [0; 16]),
        Some(SocketAddr::V4(v4)) => (4, v4.port(), v4.ip().to_ipv6_mapped().octets()),
        Some(SocketAddr::V6(v6)) => (6, v6.port(), v6.ip().octets()),
    }
}

/// Some(None) where there is none.
fn address(rest: &mut &[u8]) -> Option<Option<SocketAddr>> {
    let (family, port) = (u16::from_le_bytes(take(rest)?), u16::from_le_bytes(take(rest)?));
    let ip = Ipv6Addr::from(take::<16>(rest)?);
    let v4 = |ip: Ipv4Addr| SocketAddr::new(IpAddr::V4(ip), port);
    match family {
        0 => Some(None),
        4 => ip.to_ipv4_mapped().map(v4).map(Some),
        6 => Some(Some(SocketAddr::new(IpAddr::V6(ip), port))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every_kind(sock: u64, pid: u32, port: u16, ip: u128, verdict: Verdict) -> Vec<Question> {
        let conn = ConnKey {
            sock,
            generation: sock ^ 1,
        };
        let id = SessionId { pid, session: conn };
        let remote = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(pid)), port);
        let local = SocketAddr::new(IpAddr::V6(Ipv6Addr::from_bits(ip)), port);
        vec![
            Question::Start,
            Question::Seed,
            Question::Refresh,
            Question::Losses,
            Question::Verdict { conn, verdict },
            Question::Listener { port, verdict },
            Question::Forget(conn),
            Question::TlsVerdict { id, verdict },
            Question::ForgetTls { id },
            Question::Process { pid },
            Question::Models { pid },
            Question::Peer { conn, local, remote },
            Question::Sync(conn),
            Question::Tls { pid },
            Question::TlsSync { id },
            Question::Upstream {
                pid,
                follow: pid.is_multiple_of(2),
            },
        ]
    }

    proptest! {
        #[test]
        fn what_is_asked_is_what_is_heard(sock: u64, pid: u32, port: u16, ip: u128, verdict in 0usize..5) {
            for question in every_kind(sock, pid, port, ip, VERDICTS[verdict]) {
                prop_assert_eq!(Question::decode(&question.encode()), Some(question));
            }
        }

        #[test]
        fn hostile_bytes_are_one_of_the_questions_or_none(head in 0u16..20, tail: [u8; 32], more: [u8; 32]) {
            let mut bytes = [0; LEN];
            bytes[..2].copy_from_slice(&head.to_le_bytes());
            bytes[2..34].copy_from_slice(&tail);
            bytes[34..66].copy_from_slice(&more);
            if let Some(question) = Question::decode(&bytes) {
                prop_assert_eq!(Question::decode(&question.encode()), Some(question));
            }
        }
    }
}
