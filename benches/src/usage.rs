//! What a process and its children have used: the agent is two processes.

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::time::Duration;

/// A process that uses less than this of a core is idle.
const IDLE: Duration = Duration::from_millis(2);
const IDLE_WINDOW: Duration = Duration::from_millis(100);

/// The process and its children.
fn family(pid: u32) -> Result<Vec<u32>> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().map(str::parse);
    let all = std::iter::once(Ok(pid)).chain(children);
    Ok(all.collect::<Result<_, _>>()?)
}

/// Processor time, user and system, of all threads, dead ones too. The kernel's process clock rather than
/// /proc/PID/stat, which counts in steps of 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut sum = Duration::ZERO;
    for pid in family(pid)? {
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
        sum += Duration::from(clock.now()?);
    }
    Ok(sum)
}

/// Waits until the process has nothing to do any more.
pub fn wait_until_idle(pid: u32, limit: Duration) -> Result<()> {
    audit_tests::wait::until("the agent catching up", limit, || {
        let before = cpu(pid)?;
        std::thread::sleep(IDLE_WINDOW);
        Ok((cpu(pid)? - before < IDLE).then_some(()))
    })
}

/// Resident memory in KiB: now, with pages that are mapped more than once shared out among their mappings (Pss of
/// `smaps_rollup`, proc(5)), and at its highest, where they count for each process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

pub fn memory(pid: u32) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in family(pid)? {
        let one = memory_of(pid)?;
        sum.now += one.now;
        sum.peak += one.peak;
    }
    Ok(sum)
}

fn memory_of(pid: u32) -> Result<Memory> {
    Ok(Memory {
        now: kib(pid, "smaps_rollup", "Pss:")?,
        peak: kib(pid, "status", "VmHWM:")?,
    })
}

fn kib(pid: u32, file: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    Ok(value
        .with_context(|| format!("no {name} in {file} of {pid}"))?
        .parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_belong_to_it() -> Result<()> {
        let mut shell = std::process::Command::new("sh");
        // Both end when this process lets go of the pipe.
        shell
            .args(["-c", "cat | cat"])
            .stdin(std::process::Stdio::piped());
        let shell = audit_tests::process::Guard::spawn(&mut shell)?;
        audit_tests::wait::until("two children", Duration::from_secs(10), || {
            Ok((family(shell.pid())?.len() == 3).then_some(()))
        })
    }

    #[test]
    fn this_process_uses_processor_and_memory() -> Result<()> {
        let own = std::process::id();
        assert!(cpu(own)? > Duration::ZERO);
        let memory = memory(own)?;
        assert!(memory.now > 0 && memory.peak >= memory.now);
        Ok(())
    }
}
