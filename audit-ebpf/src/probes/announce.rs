//! Events of connections: who, where, how many bytes so far.
//!
//! In: a `struct sock` and what is kept of its connection. Out: [`ConnEvent`]s. Never: a judgement of what is wanted.

use crate::emit::{Wake, header, reserve, wake_up};
use crate::kernel::{AF_INET, AF_INET6, AF_UNIX, read};
use crate::maps::{NamedConn, UNIX_NAME_MASK, offsets};
use audit_common::abi::{CONN_LEN, ConnEvent, ConnKey, EventKind, UNIX_NAME_MAX};
use audit_common::config::{CONN_PORT_SHIFT, ConnState};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::bpf_get_current_uid_gid;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Sends a [`ConnEvent`]; `ids` names the process when it is not the current one.
#[inline(always)]
pub fn announce(kind: EventKind, flags: u16, sock: u64, state: &ConnState, ids: u64, wake: Wake) {
    let Some(mut event) = reserve::<ConnEvent>() else {
        return;
    };
    // SAFETY: every member is written, and all of them are integers.
    describe(unsafe { &mut *event.as_mut_ptr() }, kind, flags, sock, state, ids);
    event.submit(wake_up(wake));
}

/// As [`announce`], with the name of a unix socket behind the event.
#[inline(always)]
pub fn announce_named(kind: EventKind, flags: u16, sock: u64, state: &ConnState) {
    let Some(mut entry) = reserve::<NamedConn>() else {
        return;
    };
    // SAFETY: every member is written, and all of them are integers.
    let NamedConn { event, name } = unsafe { &mut *entry.as_mut_ptr() };
    describe(event, kind, flags, sock, state, 0);
    // What stood in the ring buffer before is nobody's name.
    *name = [0; UNIX_NAME_MASK as usize + 1];
    event.name_len = unix_name(sock, name) as u16;
    event.header.len += u32::from(event.name_len);
    entry.submit(wake_up(Wake::Batched));
}

#[inline(always)]
fn describe(event: &mut ConnEvent, kind: EventKind, flags: u16, sock: u64, state: &ConnState, ids: u64) {
    event.header = header(kind, flags, CONN_LEN);
    if ids != 0 {
        event.header.pid = (ids >> 32) as u32;
        event.header.tid = ids as u32;
    }
    event.conn = ConnKey {
        sock,
        generation: state.generation,
    };
    event.uid = bpf_get_current_uid_gid() as u32;
    event.inode = state.inode;
    event.rx_bytes = state.rx_bytes;
    event.tx_bytes = state.tx_bytes;
    event.name_len = 0;
    addresses(event, sock);
    if event.local_port == 0 {
        event.local_port = (state.flags >> CONN_PORT_SHIFT) as u16;
    }
}

/// Copies the name that a unix socket is bound to, or was accepted under (`struct unix_address`); gives its length.
#[inline(always)]
fn unix_name(sock: u64, to: &mut [u8; UNIX_NAME_MASK as usize + 1]) -> u32 {
    /// `sun_family` stands before the name.
    const FAMILY: u32 = 2;
    let at = offsets();
    if at.unix_addr_name == 0 {
        return 0;
    }
    let address: u64 = read(sock, at.unix_addr);
    let len = read::<u32>(address, at.unix_addr_len);
    if address == 0 || len <= FAMILY || len > FAMILY + UNIX_NAME_MAX as u32 {
        return 0;
    }
    // The compiler knows that the mask changes nothing; the verifier does not.
    let len = core::hint::black_box(len - FAMILY) & UNIX_NAME_MASK;
    let from = address + u64::from(at.unix_addr_name + FAMILY);
    // SAFETY: the helper checks the source, and the mask keeps it inside of the destination.
    let status = unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), len, from as *const c_void) };
    if status == 0 { len } else { 0 }
}

#[inline(always)]
fn addresses(event: &mut ConnEvent, sock: u64) {
    let at = offsets();
    event.family = read(sock, at.sock_family);
    event.local_port = 0;
    event.remote_port = 0;
    event.local_addr = [0; 16];
    event.remote_addr = [0; 16];
    event.peer_pid = 0;
    event.peer_uid = 0;
    let net: u64 = read(sock, at.sock_net);
    event.netns = read(net, at.net_ns_inum);
    match event.family {
        AF_UNIX => {
            let pid: u64 = read(sock, at.sock_peer_pid);
            let cred: u64 = read(sock, at.sock_peer_cred);
            if pid != 0 && cred != 0 {
                event.peer_pid = read(pid, at.pid_nr);
                event.peer_uid = read(cred, at.cred_uid);
            }
            return;
        }
        AF_INET => {
            event.local_addr[..4].copy_from_slice(&read::<[u8; 4]>(sock, at.sock_rcv_saddr));
            event.remote_addr[..4].copy_from_slice(&read::<[u8; 4]>(sock, at.sock_daddr));
        }
        AF_INET6 => {
            event.local_addr = read(sock, at.sock_v6_rcv_saddr);
            event.remote_addr = read(sock, at.sock_v6_daddr);
        }
        _ => {}
    }
    event.local_port = local_port(sock) as u16;
    event.remote_port = remote_port(sock) as u16;
}

#[inline(always)]
pub fn local_port(sock: u64) -> u32 {
    u32::from(read::<u16>(sock, offsets().sock_num))
}

#[inline(always)]
pub fn remote_port(sock: u64) -> u32 {
    u32::from(u16::from_be(read::<u16>(sock, offsets().sock_dport)))
}
