//! What TCP itself counted on a connection that ends, against what the programs saw of it.
//!
//! In: a `struct sock` on its way to TCP_CLOSE. Out: the bytes that the process received and sent. Whoever moved them:
//! a way that no program sees (io_uring on the system call path, a process that was handed the socket, a return probe
//! that the kernel had no room for) shows here, with the exact number.

use crate::kernel::read;
use crate::maps::offsets;
use audit_common::config::ConnState;

/// `SOCK_DONE` of `enum sock_flags`: the peer's FIN has arrived.
const SOCK_DONE: u64 = 1 << 1;

/// States in which a FIN of ours is under way or acknowledged: FIN_WAIT1 and 2, TIME_WAIT, LAST_ACK, CLOSING.
const FIN_SENT: [i32; 5] = [4, 5, 6, 9, 11];

/// Bytes that were taken out of the socket, and that were put in and acknowledged, or more when the programs saw more.
/// None where this kernel's counters are not known. `old_state` is the one before TCP_CLOSE.
#[inline(always)]
pub fn at_end(sock: u64, state: &ConnState, old_state: i32) -> Option<(u64, u64)> {
    let at = offsets();
    if at.tcp_bytes_received == 0 {
        return None;
    }
    let fin = u64::from(read::<u64>(sock, at.sock_flags) & SOCK_DONE != 0);
    let arrived: u64 = read(sock, at.tcp_bytes_received);
    // A FIN has a number of its own in the sequence, and is counted as a byte that was received.
    let next: u32 = read(sock, at.tcp_rcv_nxt);
    let unread = u64::from(next.wrapping_sub(read(sock, at.tcp_copied_seq)));
    let unread = unread - if unread > 0 { fin } else { 0 };
    let received = arrived.saturating_sub(fin).saturating_sub(unread);
    // What was acknowledged: the counter of sent bytes has some twice that were not sent again as TCP sees it.
    let acked: u64 = read(sock, at.tcp_bytes_acked);
    let all = read::<u32>(sock, at.tcp_snd_una) == read::<u32>(sock, at.tcp_write_seq);
    let sent = acked.saturating_sub(u64::from(all && FIN_SENT.contains(&old_state)));
    Some((received.max(state.rx_bytes), sent.max(state.tx_bytes)))
}
