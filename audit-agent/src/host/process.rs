//! Who a process is, from /proc.

use super::digest::Digests;
use super::{cgroup, container};
use crate::event::ProcessFact;
use crate::policy::mask;
use procfs::process::Process;
use std::path::Path;

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
    (fact.ancestors, fact.ancestor_pids) = ancestors(stat.ppid);
    fact.cwd = process.cwd().ok().map(|path| path.to_string_lossy().into_owned());
    if let Some(path) = control_group(&process) {
        fact.workload = cgroup::workload(&path);
        container::describe(Path::new("/"), &mut fact.workload);
    }
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

/// The path that says most of where a process runs: of the hierarchies that name a container, else the unified one, else
/// systemd's own, else the longest. A v1 host has one for each controller, and only some may have been set up.
fn control_group(process: &Process) -> Option<String> {
    let groups = process.cgroups().ok()?.0;
    let named = groups.iter().filter(|group| group.pathname != "/");
    let rank = |group: &&procfs::ProcessCGroup| {
        let systemd = group.controllers.iter().any(|name| name == "name=systemd");
        let in_container = cgroup::workload(&group.pathname).container_id.is_some();
        (in_container, group.hierarchy == 0, systemd, group.pathname.len())
    };
    named.max_by_key(rank).map(|group| group.pathname.clone())
}

fn ancestors(mut pid: i32) -> (Vec<String>, Vec<u32>) {
    let (mut names, mut pids) = (Vec::new(), Vec::new());
    while let Ok(id) = u32::try_from(pid)
        && id > 0
        && names.len() < ANCESTORS
    {
        let Some(stat) = Process::new(pid).ok().and_then(|process| process.stat().ok()) else {
            break;
        };
        names.push(format!("{}({pid})", stat.comm));
        pids.push(id);
        pid = stat.ppid;
    }
    (names, pids)
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
