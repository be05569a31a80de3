//! The clocks. The only place that reads them.

use nix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock)
        .map(|time| (time.tv_sec(), time.tv_nsec()))
        .unwrap_or_default();
    u64::try_from(time.0).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.1).unwrap_or(0)
}

/// Nanoseconds of `CLOCK_BOOTTIME`, as the kernel programs stamp events.
pub fn boot_ns() -> u64 {
    read(ClockId::CLOCK_BOOTTIME)
}

/// Nanoseconds since 1970 in UTC.
pub fn unix_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}
