//! Whether this kernel's own code can be preempted, programs of ours among it.
//!
//! In: what the kernel says of itself. Out: yes or no. Why it matters: a program that is due while it runs on the same processor
//! for a task that was preempted is left out (`recursion_misses`), at trampolines since Linux 5.12 and at tracepoints since 7.0.
//! kprobes run with preemption off, so nothing of theirs is left out. Never: a guess that costs bytes: what is not known counts
//! as preemptible.

use crate::config::CapturePath;
use std::fs;

/// Since this version no kernel for x86-64 and arm64 is built without preemption, and programs at tracepoints run with it.
const ALWAYS_SINCE: (u32, u32) = (7, 0);
/// Since this version kernels can be preempted lazily, which distributions then choose: before, `voluntary`.
const LAZY_SINCE: (u32, u32) = (6, 13);
const RELEASE: &str = "/proc/sys/kernel/osrelease";

/// Whether this kernel may leave out runs of the programs of a path.
pub fn leaves_out(path: CapturePath) -> bool {
    match path {
        CapturePath::Kprobe => false,
        CapturePath::Fentry => is_possible(),
        CapturePath::Tracepoint | CapturePath::Auto => is_since(ALWAYS_SINCE, &read(RELEASE)),
    }
}

/// Whether a task can be preempted in the kernel's own code.
pub fn is_possible() -> bool {
    of(
        &read(RELEASE),
        &read("/proc/sys/kernel/version"),
        &read("/sys/kernel/debug/sched/preempt"),
        &read("/proc/cmdline"),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Whether a release, such as `6.12.48+deb13-amd64`, is `version` or a later one, or cannot be read.
fn is_since(version: (u32, u32), release: &str) -> bool {
    let mut numbers = release.split(['.', '-', '+']).map_while(|text| text.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= version,
        _ => true,
    }
}

/// `release` and `version` of uname(2), the chosen one of the modes in parentheses (`none (voluntary) full`; empty where debugfs
/// is not mounted), the kernel's command line.
fn of(release: &str, version: &str, modes: &str, command_line: &str) -> bool {
    if is_since(ALWAYS_SINCE, release) {
        return true;
    }
    let mut words = version.split_whitespace();
    let model = words.find(|word| word.starts_with("PREEMPT"));
    if model != Some("PREEMPT_DYNAMIC") {
        return model.is_some();
    }
    let chosen = modes.split(['(', ')']).nth(1);
    let asked = || {
        let words = command_line.split_whitespace();
        words.filter_map(|word| word.strip_prefix("preempt=")).next_back()
    };
    match chosen.or_else(asked) {
        Some(mode) => !matches!(mode, "none" | "voluntary"),
        None => is_since(LAZY_SINCE, release),
    }
}

#[cfg(test)]
mod tests {
    use super::of;

    const DYNAMIC: &str = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.48-1 (2025-09-20)";

    #[test]
    fn a_kernel_that_chooses_at_boot_says_what_it_chose() {
        assert!(!of("6.12.48", DYNAMIC, "none (voluntary) full lazy", ""));
        assert!(of("6.12.48", DYNAMIC, "none voluntary (full) lazy", ""));
        assert!(of("6.12.48", DYNAMIC, "none voluntary full (lazy)", ""));
        assert!(of("6.12.48", DYNAMIC, "", "quiet preempt=full"));
        assert!(!of("6.12.48", DYNAMIC, "", "preempt=voluntary quiet"));
        assert!(!of("6.12.48+deb13-amd64", DYNAMIC, "", "quiet"));
        assert!(of("6.18.2-amd64", DYNAMIC, "", "quiet"));
        assert!(!of(
            "6.18.2-amd64",
            DYNAMIC,
            "none (voluntary) full lazy",
            "quiet"
        ));
    }

    #[test]
    fn a_kernel_that_cannot_choose_names_its_model_or_none() {
        assert!(!of("5.10.0-36-amd64", "#1 SMP Debian 5.10.244-1", "", ""));
        assert!(of("5.10.0", "#1 SMP PREEMPT Debian", "", ""));
        assert!(of("6.1.0", "#1 SMP PREEMPT_RT Debian", "", ""));
    }

    #[test]
    fn a_new_or_nameless_kernel_counts_as_preemptible() {
        assert!(of("7.2.1", "#1 SMP PREEMPT_DYNAMIC", "full (lazy)", ""));
        assert!(of("", "", "", ""));
    }
}
