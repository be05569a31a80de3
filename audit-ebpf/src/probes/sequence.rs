//! TCP's own sequence numbers, against what the programs saw of a connection.
//!
//! In: a `struct sock`, the number behind the last byte that was seen. Out: how many bytes moved that no program saw, whoever
//! moved them: a run that the kernel left out (`recursion_misses`), io_uring on the system call path, a process that was handed
//! the socket, a return probe that the kernel had no room for. Never: a number of what is not plain TCP: an encrypting layer
//! (kTLS) sends more than it is given, and MPTCP counts elsewhere.

use crate::kernel::read;
use crate::maps::offsets;
use audit_common::config::{ConnState, SEQUENCE_KNOWN};

/// `SOCK_DONE` of `enum sock_flags`: the peer's FIN has arrived.
const SOCK_DONE: u64 = 1 << 1;
const IPPROTO_TCP: u16 = 6;

/// States in which a FIN of ours is under way or acknowledged: FIN_WAIT1 and 2, TIME_WAIT, LAST_ACK, CLOSING.
const FIN_SENT: [i32; 5] = [4, 5, 6, 9, 11];

/// A connection begins: nothing has moved so far.
#[inline(always)]
pub fn begin(sock: u64, state: &mut ConnState) {
    if offsets().tcp_copied_seq != 0 {
        state.rx_sequence = SEQUENCE_KNOWN | u64::from(now(sock, false));
        state.tx_sequence = SEQUENCE_KNOWN | u64::from(now(sock, true));
    }
}

/// A call has just moved `bytes`: gives how many moved unseen between `last` and it, and sets `last` behind it. Of two calls that
/// move bytes at the same time, in an order that nobody knows, the one that is told later counts as unseen too.
#[inline(always)]
pub fn advance(sock: u64, sent: bool, bytes: u64, last: &mut u64) -> u64 {
    if offsets().tcp_copied_seq == 0 {
        return 0;
    }
    let number = now(sock, sent);
    let before = number.wrapping_sub(bytes as u32);
    let known = *last & SEQUENCE_KNOWN != 0;
    let unseen = before.wrapping_sub(*last as u32);
    *last = SEQUENCE_KNOWN | u64::from(number);
    if !known || unseen == 0 {
        return 0;
    }
    if !is_plain(sock) {
        *last = 0;
        return 0;
    }
    // The end of the stream has a number too, and may be taken by the same call.
    let fin = !sent && fin_received(sock, number);
    forward(unseen.wrapping_sub(u32::from(fin)))
}

/// As [`advance`], of a connection that leaves `old_state` and ends.
#[inline(always)]
pub fn at_end(sock: u64, sent: bool, last: u64, old_state: i32) -> u64 {
    if offsets().tcp_copied_seq == 0 || last & SEQUENCE_KNOWN == 0 {
        return 0;
    }
    let number = now(sock, sent);
    let fin = if sent {
        FIN_SENT.contains(&old_state)
    } else {
        fin_received(sock, number)
    };
    let unseen = number.wrapping_sub(last as u32).wrapping_sub(u32::from(fin));
    if unseen == 0 || !is_plain(sock) {
        return 0;
    }
    forward(unseen)
}

/// The number behind the last byte that was taken out of the socket, or put in.
#[inline(always)]
fn now(sock: u64, sent: bool) -> u32 {
    let at = offsets();
    read(sock, if sent { at.tcp_write_seq } else { at.tcp_copied_seq })
}

/// A difference of sequence numbers; 0 when it is negative.
#[inline(always)]
fn forward(difference: u32) -> u64 {
    if difference <= i32::MAX as u32 {
        u64::from(difference)
    } else {
        0
    }
}

/// Whether the peer's FIN was the last thing that was taken out of the socket, at `copied`.
#[inline(always)]
fn fin_received(sock: u64, copied: u32) -> bool {
    let at = offsets();
    // The flag first: once it is set, the FIN's number is in `rcv_nxt`.
    read::<u64>(sock, at.sock_flags) & SOCK_DONE != 0 && read::<u32>(sock, at.tcp_rcv_nxt) == copied
}

/// Whether the numbers are those of the bytes that calls move.
#[inline(always)]
fn is_plain(sock: u64) -> bool {
    let at = offsets();
    read::<u16>(sock, at.sock_protocol) == IPPROTO_TCP && read::<u64>(sock, at.sock_ulp_ops) == 0
}
