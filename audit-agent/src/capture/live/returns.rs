//! Return probes with room for many calls at once.
//!
//! In: a kernel function and a loaded program. Out: a kretprobe that lives as long as [`Returns`], and how many returns
//! the kernel had no room to watch. A receive that waits for bytes occupies its place meanwhile, and the kernel's own
//! default is a place or two for each processor; only a probe that is made in tracefs can ask for more.
//! Sources: Documentation/trace/kprobetrace.rst, perf_event_open(2).

use aya::programs::ProgramFd;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

const TRACEFS: &str = "/sys/kernel/tracing";
const GROUP: &str = "audit_agent";
/// Calls of one function that are watched at once: the most that the kernel allows (`KRETPROBE_MAXACTIVE_MAX`).
const PLACES: u32 = 4096;

/// `struct perf_event_attr` as far as its first version goes (`PERF_ATTR_SIZE_VER0`).
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    breakpoint_address: u64,
}

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

/// Return probes of this process.
#[derive(Debug, Default)]
pub struct Returns {
    /// Names in tracefs, and what holds the program at it.
    events: Vec<(String, Option<OwnedFd>)>,
    /// Where they are defined; kept open, since at the end there is no right to open it.
    definitions: Option<File>,
}

impl Returns {
    /// None yet; what a process that was killed has left is removed.
    pub fn new() -> Self {
        let text = fs::read_to_string(format!("{TRACEFS}/kprobe_events")).unwrap_or_default();
        for name in text.lines().filter_map(name_of) {
            let pid = name.split('_').nth(1).unwrap_or_default();
            if !Path::new("/proc").join(pid).exists()
                && let Ok(mut definitions) = definitions()
            {
                remove(&mut definitions, name);
            }
        }
        Self::default()
    }

    /// Runs `program` whenever `function` returns.
    pub fn attach(&mut self, function: &str, program: &ProgramFd) -> io::Result<()> {
        let name = format!("r_{}_{function}", std::process::id());
        let mut definitions = definitions()?;
        definitions.write_all(format!("r{PLACES}:{GROUP}/{name} {function}\n").as_bytes())?;
        self.definitions = Some(definitions);
        self.events.push((name.clone(), None));
        let id = fs::read_to_string(format!("{TRACEFS}/events/{GROUP}/{name}/id"))?;
        let id: u64 = id.trim().parse().map_err(io::Error::other)?;
        let event = open(id)?;
        control(&event, PERF_EVENT_IOC_SET_BPF, program.as_fd().as_raw_fd())?;
        control(&event, PERF_EVENT_IOC_ENABLE, 0)?;
        if let Some(last) = self.events.last_mut() {
            last.1 = Some(event);
        }
        Ok(())
    }

    /// Returns that were not watched since there was no place (Linux before 6.1 does not tell).
    pub fn missed(&self) -> u64 {
        if self.events.is_empty() {
            return 0;
        }
        let text = fs::read_to_string(format!("{TRACEFS}/kprobe_profile")).unwrap_or_default();
        text.lines().filter_map(|line| self.missed_in(line)).sum()
    }

    /// A line is: name, hits, misses.
    fn missed_in(&self, line: &str) -> Option<u64> {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let ours = self.events.iter().any(|(event, _)| event == name);
        words.nth(1).filter(|_| ours)?.parse().ok()
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        for (name, event) in self.events.drain(..) {
            // The definition can go only when nothing uses it.
            drop(event);
            if let Some(definitions) = &mut self.definitions {
                remove(definitions, &name);
            }
        }
    }
}

/// The name in a line `r4096:audit_agent/NAME FUNCTION`.
fn name_of(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(':')?;
    rest.strip_prefix(GROUP)?.strip_prefix('/')?.split(' ').next()
}

fn remove(definitions: &mut File, name: &str) {
    if let Err(error) = definitions.write_all(format!("-:{GROUP}/{name}\n").as_bytes()) {
        tracing::debug!(%error, name, "a return probe stays defined");
    }
}

fn definitions() -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .open(format!("{TRACEFS}/kprobe_events"))
}

/// The event of tracefs with this number, on every processor: programs run wherever the function does.
fn open(id: u64) -> io::Result<OwnedFd> {
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: id,
        sample_period: 1,
        ..PerfEventAttr::default()
    };
    let (every_process, cpu, group) = (-1, 0, -1);
    // SAFETY: the kernel reads `size` bytes at the pointer, which is exactly the live `attr`, and writes nothing.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            every_process,
            cpu,
            group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just made the descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn control(event: &OwnedFd, request: libc::c_ulong, argument: i32) -> io::Result<()> {
    // SAFETY: both requests take an integer and touch no memory of this process.
    let status = unsafe { libc::ioctl(event.as_raw_fd(), request, argument) };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_misses_are_counted_and_others_are_not() {
        let returns = Returns {
            events: vec![("r_7_tcp_recvmsg".into(), None)],
            definitions: None,
        };
        assert_eq!(returns.missed_in("  r_7_tcp_recvmsg      12       3"), Some(3));
        assert_eq!(returns.missed_in("  r_8_tcp_recvmsg      12       3"), None);
        assert_eq!(returns.missed_in("  r_7_tcp_recvmsg"), None);
        std::mem::forget(returns);
    }

    #[test]
    fn a_probe_is_known_by_its_name_in_the_kernels_list() {
        assert_eq!(
            name_of("r4096:audit_agent/r_7_tcp_recvmsg tcp_recvmsg"),
            Some("r_7_tcp_recvmsg")
        );
        assert_eq!(name_of("p:kprobes/myprobe do_sys_open"), None);
    }
}
