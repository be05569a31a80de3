//! What a process has used.

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::time::Duration;

/// A process that uses less than this of a core is idle.
const IDLE: Duration = Duration::from_millis(2);
const IDLE_WINDOW: Duration = Duration::from_millis(100);

/// Processor time, user and system, of all threads, dead ones too. The kernel's process clock rather than
/// /proc/PID/stat, which counts in steps of 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

/// Waits until the process has nothing to do any more.
pub fn wait_until_idle(pid: u32, limit: Duration) -> Result<()> {
    audit_tests::wait::until("the agent catching up", limit, || {
        let before = cpu(pid)?;
        std::thread::sleep(IDLE_WINDOW);
        Ok((cpu(pid)? - before < IDLE).then_some(()))
    })
}

/// Resident memory now and at its highest, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = |name: &str| -> Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let value = line.and_then(|line| line.split_whitespace().next());
        Ok(value
            .with_context(|| format!("no {name} in the status of {pid}"))?
            .parse()?)
    };
    Ok(Memory {
        now: kib("VmRSS:")?,
        peak: kib("VmHWM:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_processor_and_memory() -> Result<()> {
        let own = std::process::id();
        assert!(cpu(own)? > Duration::ZERO);
        let memory = memory(own)?;
        assert!(memory.now > 0 && memory.peak >= memory.now);
        Ok(())
    }
}
