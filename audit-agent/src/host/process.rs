//! Who a process is, from /proc.

use super::cgroup;
use super::digest::Digests;
use crate::event::ProcessFact;
use crate::policy::mask;
use procfs::process::Process;

/// Ancestors that are named.
const ANCESTORS: usize = 8;

/// What can be read of `pid`; a process that has ended gives a fact with nothing but its pid.
pub fn look_up(pid: u32, digests: &mut Digests) -> ProcessFact {
    let mut fact = ProcessFact {
        pid,
        ..ProcessFact::default()
    };
    let Some(process) = i32::try_from(pid).ok().and_then(|pid| Process::new(pid).ok()) else {
        return fact;
    };
    let Ok(stat) = process.stat() else { return fact };
    fact.start_ns = ticks_to_ns(stat.starttime);
    fact.comm = stat.comm.clone();
    fact.parent_pid = u32::try_from(stat.ppid).ok();
    fact.exe = process
        .exe()
        .ok()
        .map(|path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned());
    fact.exe_sha256 = digests.executable(pid);
    fact.argv = process
        .cmdline()
        .map(|args| mask::argv(&args))
        .unwrap_or_default();
    fact.uid = process.uid().ok();
    fact.user = fact.uid.and_then(user_name);
    fact.ancestors = ancestors(stat.ppid);
    fact.cgroup = control_group(&process);
    fact.systemd_unit = fact.cgroup.as_deref().and_then(cgroup::systemd_unit);
    fact.container_id = fact.cgroup.as_deref().and_then(cgroup::container_id);
    fact
}

/// Field 22 of /proc/PID/stat counts ticks, of which there are 100 a second on every Linux of today.
fn ticks_to_ns(ticks: u64) -> u64 {
    ticks.saturating_mul(1_000_000_000 / procfs::ticks_per_second().max(1))
}

fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into())
        .ok()
        .flatten()
        .map(|user| user.name)
}

/// The unified hierarchy's path, or that of the systemd or the longest v1 hierarchy.
fn control_group(process: &Process) -> Option<String> {
    let groups = process.cgroups().ok()?.0;
    let unified = groups
        .iter()
        .find(|group| group.hierarchy == 0 && group.pathname != "/");
    let longest = || groups.iter().max_by_key(|group| group.pathname.len());
    unified.or_else(longest).map(|group| group.pathname.clone())
}

fn ancestors(mut pid: i32) -> Vec<String> {
    let mut names = Vec::new();
    while pid > 0 && names.len() < ANCESTORS {
        let Some(stat) = Process::new(pid).ok().and_then(|process| process.stat().ok()) else {
            break;
        };
        names.push(format!("{}({pid})", stat.comm));
        pid = stat.ppid;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_a_running_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        // The child may not have executed its program yet.
        let mut fact = look_up(child.id(), &mut Digests::start());
        while fact.comm != "sleep" || fact.argv.len() < 2 {
            fact = look_up(child.id(), &mut Digests::start());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(fact.exe.is_some_and(|exe| exe.starts_with('/')));
        assert!(fact.start_ns > 0 && fact.uid.is_some());
        assert_eq!(fact.argv, ["sleep", "60"]);
        assert_eq!(fact.exe_sha256.map(|digest| digest.len()), Some(64));
    }

    #[test]
    fn a_process_that_ended_is_only_a_pid() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let fact = look_up(child.id(), &mut Digests::start());
        assert_eq!(
            fact,
            ProcessFact {
                pid: child.id(),
                ..ProcessFact::default()
            }
        );
    }
}
