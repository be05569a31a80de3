//! Commands that are executed after a model asked for a tool.
//!
//! In: answers with tool calls and the processes that got or gave them; execs. Out: which exec belongs to which answer.
//! Never: an action without a tool call before it; a choice between two answers that fit equally; more than the caps.
//!
//! An answer opens a window for the process tree of its client, and of its server, which may run tools itself. It closes when
//! the result of the tool is sent back, or by time.

use super::hops::Link;
use crate::limits;
use serde_json::Value;
use std::collections::VecDeque;

/// How long after an answer a command can still be what it asked for.
const WINDOW_NS: u64 = 60_000_000_000;
/// Bytes of a command that say more than chance when they are in a tool's arguments.
const TELLING: usize = 6;
/// Where the id of a tool call is looked for in the next prompt: its end.
const HAYSTACK: usize = 64 * 1024;

/// A tool that a model asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tool {
    pub id: Option<String>,
    pub name: Option<String>,
    /// As the model wrote them; not for records.
    pub arguments: String,
}

/// An answer that asks for tools.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub exchange_id: String,
    pub end_ns: u64,
    /// The processes whose trees may run them.
    pub owners: Vec<u32>,
    /// Who started the client: a shell whose `curl` has ended runs the tool itself. Counts only with the arguments.
    pub parent: Option<u32>,
    pub tools: Vec<Tool>,
}

#[derive(Debug)]
struct Window {
    answer: Answer,
    actions: u64,
    over_cap: u64,
}

/// What an executed command belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Action {
    pub link: Link,
    /// Names of the tools that were asked for.
    pub tools: Vec<String>,
}

/// A window that is over, and how many actions in it were not recorded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Overflow {
    pub exchange_id: String,
    pub actions: u64,
}

/// All windows that are open, oldest first.
#[derive(Debug, Default)]
pub struct Actions {
    windows: VecDeque<Window>,
    overflows: Vec<Overflow>,
}

impl Actions {
    /// Opens a window, if the answer asks for anything.
    pub fn answered(&mut self, mut answer: Answer) {
        if answer.tools.is_empty() || (answer.owners.is_empty() && answer.parent.is_none()) {
            return;
        }
        answer.tools.truncate(limits::ACTION_TOOLS);
        for tool in &mut answer.tools {
            let end = limits::ACTION_ARGUMENTS_BYTES.min(tool.arguments.len());
            let end = (0..=end).rev().find(|end| tool.arguments.is_char_boundary(*end));
            tool.arguments.truncate(end.unwrap_or(0));
        }
        if self.windows.len() >= limits::ACTION_WINDOWS {
            self.close(0);
        }
        self.windows.push_back(Window {
            answer,
            actions: 0,
            over_cap: 0,
        });
    }

    /// A process, whose ancestors these are, asks again: what it brings the result of is over.
    pub fn asked(&mut self, lineage: &[u32], prompt: &[u8]) {
        let tail = prompt
            .get(prompt.len().saturating_sub(HAYSTACK)..)
            .unwrap_or(prompt);
        let brought = |window: &Window| {
            let ids = window.answer.tools.iter().filter_map(|tool| tool.id.as_deref());
            let mut ids = ids.filter(|id| id.len() >= TELLING);
            window.answer.is_of(lineage) && ids.any(|id| contains(tail, id.as_bytes()))
        };
        while let Some(at) = self.windows.iter().position(brought) {
            self.close(at);
        }
    }

    /// Whether any command can be an action now.
    pub fn is_open(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Whether a command of a process with these ancestors, itself first, can be an action.
    pub fn concerns(&self, lineage: &[u32]) -> bool {
        self.windows.iter().any(|window| window.answer.is_of(lineage))
    }

    /// The answer that a command belongs to; None when it belongs to none, or is one too many.
    pub fn executed(&mut self, lineage: &[u32], argv: &[String], time_ns: u64) -> Option<Action> {
        let open = |window: &Window| {
            let since = time_ns.checked_sub(window.answer.end_ns);
            since.is_some_and(|since| since <= WINDOW_NS)
        };
        let all = self.windows.iter().enumerate().filter(|(_, window)| open(window));
        let (mut owned, mut told) = (Vec::new(), Vec::new());
        for (at, window) in all.filter(|(_, window)| window.answer.is_of(lineage)) {
            if window.answer.asks_for(argv) {
                told.push(at);
            }
            if window.answer.is_owned_by(lineage) {
                owned.push(at);
            }
        }
        let (how, left) = match (told.len(), owned.len()) {
            (1, _) => ("tool_arguments", told),
            (0, 0) => return None,
            (0, 1) => ("process_time", owned),
            (0, _) => ("ambiguous", owned),
            _ => ("ambiguous", told),
        };
        if !self.count(&left) {
            return None;
        }
        let answers: Vec<&Answer> = left
            .iter()
            .filter_map(|at| self.windows.get(*at))
            .map(|window| &window.answer)
            .collect();
        let mut tools: Vec<String> = answers.iter().flat_map(|answer| answer.names()).collect();
        tools.sort();
        tools.dedup();
        let mut ids: Vec<String> = answers.iter().map(|answer| answer.exchange_id.clone()).collect();
        let caused_by = if ids.len() == 1 { ids.pop() } else { None };
        ids.truncate(limits::LINK_CANDIDATES);
        let link = Link {
            how,
            caused_by,
            candidates: ids,
            hop: 0,
        };
        Some(Action { link, tools })
    }

    /// Counts an action in its windows; false when one of them has had too many.
    fn count(&mut self, at: &[usize]) -> bool {
        let full = |window: Option<&Window>| {
            window.is_some_and(|window| window.actions >= limits::ACTIONS_OF_ANSWER)
        };
        let over_cap = at.iter().any(|at| full(self.windows.get(*at)));
        let mut first = true;
        for at in at {
            if let Some(window) = self.windows.get_mut(*at) {
                window.actions += u64::from(!over_cap);
                // One command that fits several is missing once.
                window.over_cap += u64::from(over_cap && std::mem::take(&mut first));
            }
        }
        !over_cap
    }

    fn close(&mut self, at: usize) {
        if let Some(window) = self.windows.remove(at).filter(|window| window.over_cap > 0) {
            self.overflows.push(Overflow {
                exchange_id: window.answer.exchange_id,
                actions: window.over_cap,
            });
        }
    }

    /// Closes the windows that are over by time.
    pub fn expire(&mut self, now_ns: u64) {
        let over = |window: &Window| now_ns.saturating_sub(window.answer.end_ns) > WINDOW_NS;
        while let Some(at) = self.windows.iter().position(over) {
            self.close(at);
        }
    }

    /// Closes all windows.
    pub fn stop(&mut self) {
        while self.is_open() {
            self.close(0);
        }
    }

    /// What was not recorded, since this was asked last.
    pub fn overflows(&mut self) -> Vec<Overflow> {
        std::mem::take(&mut self.overflows)
    }
}

impl Answer {
    fn is_owned_by(&self, lineage: &[u32]) -> bool {
        lineage.iter().any(|pid| self.owners.contains(pid))
    }

    fn is_of(&self, lineage: &[u32]) -> bool {
        let parent = self.parent.is_some_and(|parent| lineage.contains(&parent));
        parent || self.is_owned_by(lineage)
    }

    /// Whether a tool's arguments have the command, or a telling argument of it.
    fn asks_for(&self, argv: &[String]) -> bool {
        let joined = argv.join(" ");
        let rest = argv.iter().skip(1).map(String::as_str);
        let mut texts = rest.chain([joined.as_str()]).filter(|text| text.len() >= TELLING);
        texts.any(|text| {
            let escaped = Value::from(text).to_string();
            let escaped = escaped.trim_matches('"').as_bytes();
            let within = |tool: &Tool| contains(tool.arguments.as_bytes(), escaped);
            self.tools.iter().any(within)
        })
    }

    fn names(&self) -> impl Iterator<Item = String> {
        self.tools.iter().filter_map(|tool| tool.name.clone())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
