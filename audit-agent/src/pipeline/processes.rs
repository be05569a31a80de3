//! What is known of the processes of the host, from kernel events and from facts that an edge looked up.
//!
//! In: exec, fork and exit events, [`ProcessFact`]s. Out: who a pid was at the time of an event. Never: more than
//! [`limits::PROCESSES`] entries; those that ended longest ago go first.

use crate::event::{ModelFile, ProcessFact, TlsLibrary};
use crate::limits;
use crate::policy::mask;
use crate::record::inference::{ProcessInfo, Workload};
use audit_common::decode::Process;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

/// How long a process that has ended is still known: events of its last calls may follow its exit.
const KEPT_AFTER_EXIT_NS: u64 = 60_000_000_000;

#[derive(Debug)]
struct Known {
    fact: ProcessFact,
    /// Made when the first record needs it, and anew when more is known; all its records share it.
    said: OnceCell<Said>,
    /// An edge has looked it up while it lived, so there is nothing more to ask.
    looked_up: bool,
    ended_ns: Option<u64>,
    models: Vec<ModelFile>,
    models_asked_ns: Option<u64>,
    tls: Vec<TlsLibrary>,
    serves_inference: bool,
    /// Connections that it opened to what is no inference API.
    other_upstream: u64,
}

/// What records say of a process.
#[derive(Clone, Debug)]
pub struct Said {
    pub process: Arc<ProcessInfo>,
    pub workload: Arc<Workload>,
}

impl From<&ProcessFact> for Said {
    fn from(fact: &ProcessFact) -> Self {
        Self {
            process: Arc::new(fact.into()),
            workload: Arc::new((&fact.workload).into()),
        }
    }
}

#[derive(Debug, Default)]
pub struct Processes {
    by_pid: HashMap<u32, Known>,
}

impl Processes {
    /// A program was executed. The kernel's own word stands in until, or instead of, a look-up.
    pub fn executed(&mut self, process: &Process<'_>) {
        self.make_room();
        let argv = process
            .argv
            .split(|byte| *byte == 0)
            .map(|arg| String::from_utf8_lossy(arg).into_owned());
        let mut argv: Vec<String> = argv.collect();
        argv.pop_if(|last| last.is_empty());
        let fact = ProcessFact {
            pid: process.pid,
            start_ns: process.start_ns,
            parent_pid: Some(process.parent_pid),
            uid: Some(process.uid),
            comm: text(&process.comm),
            exe: Some(String::from_utf8_lossy(process.filename).into_owned()),
            argv: mask::argv(&argv),
            ancestors: self.ancestors(process.parent_pid),
            ..ProcessFact::default()
        };
        self.insert(fact, false);
    }

    pub fn ended(&mut self, pid: u32, time_ns: u64) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known.ended_ns = Some(time_ns);
        }
    }

    /// An edge has looked a process up; what it could not read any more stays as the kernel said it.
    pub fn learn(&mut self, fact: ProcessFact) {
        self.make_room();
        match self.by_pid.get_mut(&fact.pid) {
            Some(known) if fact.exe.is_none() && fact.start_ns == 0 => known.looked_up = true,
            Some(known) if known.ended_ns.is_none() => {
                known.fact = merge(&known.fact, fact);
                known.said = OnceCell::new();
                known.looked_up = true;
            }
            _ => self.insert(fact, true),
        }
    }

    pub fn learn_models(&mut self, pid: u32, files: Vec<ModelFile>) {
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known.models = files;
        }
    }

    pub fn learn_tls(&mut self, pid: u32, libraries: Vec<TlsLibrary>) {
        if !self.by_pid.contains_key(&pid) {
            self.make_room();
            let fact = ProcessFact {
                pid,
                ..ProcessFact::default()
            };
            self.insert(fact, false);
        }
        if let Some(known) = self.by_pid.get_mut(&pid) {
            known.tls = libraries;
        }
    }

    /// The TLS libraries that a process has.
    pub fn tls(&self, pid: u32) -> &[TlsLibrary] {
        self.by_pid.get(&pid).map_or(&[], |known| &known.tls)
    }

    pub fn get(&self, pid: u32) -> Option<&ProcessFact> {
        self.by_pid.get(&pid).map(|known| &known.fact)
    }

    /// What records say of a process.
    pub fn said(&self, pid: u32) -> Option<&Said> {
        let known = self.by_pid.get(&pid)?;
        Some(known.said.get_or_init(|| Said::from(&known.fact)))
    }

    /// The process and its ancestors, nearest first.
    pub fn lineage(&self, pid: u32) -> Vec<u32> {
        const DEPTH: usize = 8;
        let mut pids = vec![pid];
        let mut last = pid;
        while pids.len() <= DEPTH
            && let Some(parent) = self.get(last).and_then(|fact| fact.parent_pid)
            && !pids.contains(&parent)
        {
            pids.push(parent);
            last = parent;
        }
        // Ancestors that this agent has not seen itself were looked up with the last that it has.
        let looked_up = self.get(last).map(|fact| fact.ancestor_pids.as_slice());
        for ancestor in looked_up.unwrap_or_default() {
            if pids.len() <= DEPTH && !pids.contains(ancestor) {
                pids.push(*ancestor);
            }
        }
        pids
    }

    /// The process has answered a call: true when that is new.
    pub fn serves_inference(&mut self, pid: u32) -> bool {
        let Some(known) = self.by_pid.get_mut(&pid) else {
            return false;
        };
        !std::mem::replace(&mut known.serves_inference, true)
    }

    /// Whether the process has answered a call.
    pub fn has_served_inference(&self, pid: u32) -> bool {
        self.by_pid.get(&pid).is_some_and(|known| known.serves_inference)
    }

    /// A connection that the process opened was no inference API's; gives how many were.
    pub fn other_upstream(&mut self, pid: u32) -> u64 {
        let Some(known) = self.by_pid.get_mut(&pid) else {
            return 0;
        };
        known.other_upstream = known.other_upstream.saturating_add(1);
        known.other_upstream
    }

    pub fn models(&self, pid: u32) -> &[ModelFile] {
        self.by_pid.get(&pid).map_or(&[], |known| &known.models)
    }

    /// Whether to look the weights of a server up: when none has a digest yet, and not with every connection.
    pub fn wants_models(&mut self, pid: u32, now_ns: u64) -> bool {
        const ASK_AGAIN_NS: u64 = 10_000_000_000;
        let Some(known) = self.by_pid.get_mut(&pid) else {
            return true;
        };
        let recent = known
            .models_asked_ns
            .is_some_and(|asked| now_ns.saturating_sub(asked) < ASK_AGAIN_NS);
        let wanted = !recent && known.models.iter().all(|file| file.sha256.is_none());
        if wanted {
            known.models_asked_ns = Some(now_ns);
        }
        wanted
    }

    /// Whether a look-up would tell more than is known.
    pub fn wants_look_up(&self, pid: u32) -> bool {
        self.by_pid
            .get(&pid)
            .is_none_or(|known| !known.looked_up && known.ended_ns.is_none())
    }

    /// Forgets those that ended long ago.
    pub fn expire(&mut self, now_ns: u64) {
        let over = |ended: u64| now_ns.saturating_sub(ended) > KEPT_AFTER_EXIT_NS;
        self.by_pid.retain(|_, known| !known.ended_ns.is_some_and(over));
    }

    fn insert(&mut self, fact: ProcessFact, looked_up: bool) {
        self.by_pid.insert(
            fact.pid,
            Known {
                fact,
                said: OnceCell::new(),
                looked_up,
                ended_ns: None,
                models: Vec::new(),
                models_asked_ns: None,
                tls: Vec::new(),
                serves_inference: false,
                other_upstream: 0,
            },
        );
    }

    fn ancestors(&self, mut pid: u32) -> Vec<String> {
        const DEPTH: usize = 8;
        let mut names = Vec::new();
        while let Some(known) = self.by_pid.get(&pid).filter(|_| names.len() < DEPTH) {
            names.push(format!("{}({pid})", known.fact.comm));
            match known.fact.parent_pid {
                Some(parent) if parent != pid => pid = parent,
                _ => break,
            }
        }
        names
    }

    fn make_room(&mut self) {
        if self.by_pid.len() < limits::PROCESSES {
            return;
        }
        let oldest = self
            .by_pid
            .iter()
            .min_by_key(|(_, known)| known.ended_ns.unwrap_or(u64::MAX));
        if let Some(pid) = oldest.map(|(pid, _)| *pid) {
            self.by_pid.remove(&pid);
        }
    }
}

/// The newer facts, with gaps filled from the older ones of the same process.
fn merge(old: &ProcessFact, new: ProcessFact) -> ProcessFact {
    let argv = if new.argv.is_empty() {
        old.argv.clone()
    } else {
        new.argv
    };
    let ancestors = if new.ancestors.is_empty() {
        old.ancestors.clone()
    } else {
        new.ancestors
    };
    ProcessFact {
        parent_pid: new.parent_pid.or(old.parent_pid),
        uid: new.uid.or(old.uid),
        exe: new.exe.or_else(|| old.exe.clone()),
        argv,
        ancestors,
        cwd: new.cwd.or_else(|| old.cwd.clone()),
        ..new
    }
}

/// A NUL-padded kernel string.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(pid: u32, argv: &'static [u8]) -> Process<'static> {
        Process {
            pid,
            parent_pid: 1,
            start_ns: 7,
            uid: 1000,
            comm: *b"curl\0\0\0\0\0\0\0\0\0\0\0\0",
            filename: b"/bin/curl",
            argv,
        }
    }

    #[test]
    fn a_process_that_ended_before_the_look_up_keeps_what_the_kernel_said() {
        let mut processes = Processes::default();
        processes.executed(&exec(5, b"curl\0-s\0http://x\0"));
        processes.ended(5, 100);
        assert!(!processes.wants_look_up(5));
        processes.learn(ProcessFact {
            pid: 5,
            ..ProcessFact::default()
        });
        let fact = processes.get(5).unwrap();
        assert_eq!(
            (fact.comm.as_str(), fact.argv.len(), fact.exe.as_deref()),
            ("curl", 3, Some("/bin/curl"))
        );
    }

    #[test]
    fn records_say_what_is_known_when_they_are_made() {
        let mut processes = Processes::default();
        processes.executed(&exec(5, b"curl\0"));
        let user = |processes: &Processes| {
            let process = serde_json::to_value(&processes.said(5).unwrap().process).unwrap();
            process.get("user").cloned().unwrap()
        };
        assert!(user(&processes).is_null());
        processes.learn(ProcessFact {
            pid: 5,
            start_ns: 7,
            user: Some("root".into()),
            ..ProcessFact::default()
        });
        assert_eq!(user(&processes), "root");
    }

    #[test]
    fn is_forgotten_a_while_after_its_end() {
        let mut processes = Processes::default();
        processes.executed(&exec(5, b"curl\0"));
        processes.ended(5, 100);
        processes.expire(200);
        assert!(processes.get(5).is_some());
        processes.expire(200 + KEPT_AFTER_EXIT_NS);
        assert!(processes.get(5).is_none());
    }
}
