//! Runs of our programs that the kernel left out.
//!
//! In: loaded programs. Out: how often one was due while the same one ran on that processor already, found there by an interrupt or
//! by another task: the kernel skips it then. Never: what was in those runs; bytes of TCP show as `unseen`. Since Linux 5.12.
//! Source: `recursion_misses` in /proc/PID/fdinfo/FD (kernel/bpf/syscall.c, `bpf_prog_show_fdinfo`).

use aya::Ebpf;
use std::os::fd::{AsFd, AsRawFd};

/// Two programs that do the same: what one of them was left out of, the other one saw.
pub const TWINS: [&str; 2] = ["inet_sock_set_state", "inet_sock_set_state_again"];

/// Since the programs were loaded, summed over them; of twins the fewer, which is the most that both can have missed.
pub fn count(programs: &Ebpf) -> u64 {
    let of = |name: &str| {
        let fd = programs.program(name)?.fd().ok()?.as_fd().as_raw_fd();
        misses(&std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?)
    };
    let single = programs
        .programs()
        .map(|(name, _)| name)
        .filter(|name| !TWINS.contains(name));
    let twins = TWINS.iter().filter_map(|name| of(name)).min();
    single.filter_map(of).sum::<u64>() + twins.unwrap_or(0)
}

fn misses(info: &str) -> Option<u64> {
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix("recursion_misses:"))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::misses;

    #[test]
    fn the_count_is_read_where_the_kernel_gives_one() {
        let info = "pos:\t0\nprog_type:\t5\nrun_cnt:\t7\nrecursion_misses:\t12\nverified_insns:\t30\n";
        assert_eq!(misses(info), Some(12));
        assert_eq!(misses("pos:\t0\nprog_type:\t5\n"), None);
    }
}
