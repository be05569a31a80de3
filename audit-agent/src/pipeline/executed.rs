//! Execs on their way to action records.
//!
//! In: execs, answers with tool calls, look-ups of processes. Out: action records. Never: a look-up of a process that cannot
//! be of interest: most commands of a host are told apart by what is known of their parents.

use super::actions::{Answer, Tool};
use super::exchange::Finished;
use super::{Output, Pipeline};
use crate::event::ProcessFact;
use crate::limits::{self, cut};
use crate::record::{Action, Body, Gap, rfc3339};
use audit_common::decode::Process;
use std::collections::BTreeMap;

/// How long a look-up is waited for: an edge answers each at once.
const LOOK_UP_NS: u64 = 10_000_000_000;

/// A command that waits for what an edge knows of a process: its parent's ancestors first, then itself.
#[derive(Debug)]
pub struct Pending {
    pid: u32,
    parent_pid: u32,
    /// Whose look-up is awaited.
    awaited: u32,
    /// As the kernel said it, masked; the process may execute something else before it is looked up.
    fact: ProcessFact,
    /// Unmasked, to be compared with tools' arguments only.
    argv: Vec<String>,
    time_ns: u64,
}

impl Pipeline {
    /// An answer is whole: commands may follow.
    pub(super) fn watch_for_actions(
        &mut self,
        exchange_id: &str,
        finished: &Finished,
        pids: [Option<u32>; 2],
    ) {
        let calls = finished.call.choices.iter().flat_map(|choice| &choice.tool_calls);
        let tools: Vec<Tool> = calls
            .take(limits::ACTION_TOOLS)
            .map(|call| Tool {
                id: call.id.as_deref().map(cut),
                name: call.name.as_deref().map(cut),
                arguments: call.arguments.clone(),
            })
            .collect();
        if tools.is_empty() {
            return;
        }
        let [client, _] = pids;
        let parent = client.and_then(|pid| self.processes.get(pid)?.parent_pid);
        self.actions.answered(Answer {
            exchange_id: exchange_id.to_owned(),
            end_ns: finished.end_ns,
            owners: pids.into_iter().flatten().collect(),
            parent: parent.filter(|pid| *pid > 1),
            tools,
        });
    }

    /// A program was executed.
    pub(super) fn executed(&mut self, process: &Process<'_>, time_ns: u64, out: &mut Vec<Output>) {
        self.processes.executed(process);
        if !self.actions.is_open() {
            return;
        }
        let awaited = if self.actions.concerns(&self.processes.lineage(process.pid)) {
            process.pid
        } else if self.processes.get(process.parent_pid).is_none() {
            process.parent_pid
        } else {
            return;
        };
        if self.pending.len() >= limits::ACTIONS_PENDING {
            self.count("actions_not_looked_up", 1);
            return;
        }
        let argv = process.argv.split(|byte| *byte == 0);
        let mut argv: Vec<String> = argv
            .map(|arg| String::from_utf8_lossy(arg).into_owned())
            .collect();
        argv.pop_if(|last| last.is_empty());
        self.pending.push(Pending {
            pid: process.pid,
            parent_pid: process.parent_pid,
            awaited,
            fact: self.processes.get(process.pid).cloned().unwrap_or_default(),
            argv,
            time_ns,
        });
        out.push(Output::NeedProcess { pid: awaited });
    }

    /// A process was looked up.
    pub(super) fn looked_up(&mut self, pid: u32, out: &mut Vec<Output>) {
        if self.pending.is_empty() {
            return;
        }
        let all = std::mem::take(&mut self.pending);
        let (ready, waiting) = all.into_iter().partition(|pending| pending.awaited == pid);
        self.pending = waiting;
        for mut pending in ready {
            if pending.awaited == pending.pid {
                self.act(&pending, out);
            } else if self.actions.concerns(&self.processes.lineage(pending.pid)) {
                pending.awaited = pending.pid;
                out.push(Output::NeedProcess { pid: pending.pid });
                self.pending.push(pending);
            }
        }
    }

    fn act(&mut self, pending: &Pending, out: &mut Vec<Output>) {
        let lineage = self.processes.lineage(pending.pid);
        let Some(action) = self.actions.executed(&lineage, &pending.argv, pending.time_ns) else {
            return;
        };
        let looked_up = self.processes.get(pending.pid);
        let same = looked_up.filter(|fact| fact.argv == pending.fact.argv);
        let body = Action {
            caused_by: action.link.caused_by,
            cwd: looked_up.and_then(|fact| fact.cwd.as_deref()).map(cut),
            link: action.link.how.into(),
            link_candidates: action.link.candidates,
            parent_pid: pending.parent_pid.into(),
            process: same.unwrap_or(&pending.fact).into(),
            start_time: rfc3339(self.unix_ns(pending.time_ns)),
            tools: action.tools,
            workload: looked_up.map(|fact| (&fact.workload).into()).unwrap_or_default(),
        };
        out.push(self.record(Body::Action(Box::new(body)), pending.time_ns));
        self.count("actions", 1);
    }

    /// Windows that are over; what was too much in them is declared.
    pub(super) fn actions_tick(&mut self, boot_ns: u64, stop: bool, out: &mut Vec<Output>) {
        if stop {
            self.actions.stop();
        } else {
            self.actions.expire(boot_ns);
        }
        let waiting = self.pending.len();
        self.pending
            .retain(|pending| boot_ns.saturating_sub(pending.time_ns) < LOOK_UP_NS);
        if self.pending.len() < waiting {
            self.count("actions_not_looked_up", (waiting - self.pending.len()) as u64);
        }
        for overflow in self.actions.overflows() {
            let gap = Gap {
                place: "actions".into(),
                lost: BTreeMap::from([(overflow.exchange_id, overflow.actions)]),
                ..Gap::default()
            };
            out.push(self.record(Body::Gap(gap), boot_ns));
        }
    }
}
