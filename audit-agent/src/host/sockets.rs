//! Sockets that were there before the agent: who listens, and who is at the other end.

use procfs::net::{TcpNetEntry, TcpState, UnixNetEntry, UnixState};
use procfs::process::{FDInfo, FDTarget, Process};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// What listens on this host.
#[derive(Clone, Debug, Default)]
pub struct Listeners {
    /// TCP ports.
    pub ports: HashSet<u16>,
    /// Processes that hold a listening stream socket, TCP or unix.
    pub pids: HashSet<u32>,
}

fn tcp(pid: i32) -> Vec<TcpNetEntry> {
    let Ok(process) = Process::new(pid) else {
        return Vec::new();
    };
    let mut entries = process.tcp().unwrap_or_default();
    entries.extend(process.tcp6().unwrap_or_default());
    entries
}

fn unix(pid: i32) -> Vec<UnixNetEntry> {
    Process::new(pid)
        .and_then(|process| process.unix())
        .unwrap_or_default()
}

/// Which processes hold which sockets, and one process of each network namespace.
fn holders() -> (HashMap<u64, Vec<i32>>, HashMap<u64, i32>) {
    let mut by_inode: HashMap<u64, Vec<i32>> = HashMap::new();
    let mut namespaces = HashMap::new();
    for process in procfs::process::all_processes().into_iter().flatten().flatten() {
        if let Ok(namespace) = std::fs::metadata(format!("/proc/{}/ns/net", process.pid)) {
            namespaces
                .entry(std::os::unix::fs::MetadataExt::ino(&namespace))
                .or_insert(process.pid);
        }
        for inode in sockets(&process) {
            by_inode.entry(inode).or_default().push(process.pid);
        }
    }
    (by_inode, namespaces)
}

/// Inodes of the sockets that a process has open. Where the thread that it began with is over, the kernel shows them with
/// another one only.
fn sockets(process: &Process) -> Vec<u64> {
    let of = |process: &Process| -> Vec<u64> {
        let open = process.fd().into_iter().flatten().flatten();
        let inode = |fd: FDInfo| match fd.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        };
        open.filter_map(inode).collect()
    };
    let found = of(process);
    let over = |process: &Process| process.stat().is_ok_and(|stat| stat.state == 'Z');
    if !found.is_empty() || !over(process) {
        return found;
    }
    let tasks = process.tasks().into_iter().flatten().flatten();
    let thread = |tid: i32| Process::new_with_root(format!("/proc/{}/task/{tid}", process.pid).into());
    let mut threads = tasks.filter_map(|task| thread(task.tid).ok());
    threads
        .find(|thread| !over(thread))
        .map_or(Vec::new(), |thread| of(&thread))
}

/// Everything that listens now, in every network namespace that a process lives in.
pub fn listeners() -> Listeners {
    let (by_inode, namespaces) = holders();
    let mut found = Listeners::default();
    let add = |inode: u64, pids: &mut HashSet<u32>| {
        let holders = by_inode.get(&inode).into_iter().flatten();
        pids.extend(holders.filter_map(|pid| u32::try_from(*pid).ok()));
    };
    for pid in namespaces.values() {
        for entry in tcp(*pid).iter().filter(|entry| entry.state == TcpState::Listen) {
            found.ports.insert(entry.local_address.port());
            add(entry.inode, &mut found.pids);
        }
        const STREAM: u16 = 1;
        for entry in unix(*pid)
            .iter()
            .filter(|entry| entry.socket_type == STREAM && entry.state == UnixState::UNCONNECTED)
        {
            add(entry.inode, &mut found.pids);
        }
    }
    found
}

/// The process whose socket has the given local and remote address.
pub fn holder_of(local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let same =
        |a: SocketAddr, b: SocketAddr| a.port() == b.port() && a.ip().to_canonical() == b.ip().to_canonical();
    let (by_inode, namespaces) = holders();
    for pid in namespaces.values() {
        let entry = tcp(*pid)
            .into_iter()
            .find(|e| same(e.local_address, local) && same(e.remote_address, remote));
        if let Some(holder) = entry.and_then(|entry| by_inode.get(&entry.inode)?.first().copied()) {
            return u32::try_from(holder).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn finds_listeners_and_both_ends_of_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let found = listeners();
        assert!(found.ports.contains(&address.port()));
        assert!(found.pids.contains(&std::process::id()));
        assert_eq!(
            holder_of(client.local_addr().unwrap(), address),
            Some(std::process::id())
        );
    }
}
