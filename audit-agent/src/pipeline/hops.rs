//! Which call caused which: hops of one request through servers of this host.
//!
//! In: calls as they begin, are asked and end, with the process that answers or asks. Out: a [`Link`] for each. Never: a
//! choice between two calls that fit equally; more than [`limits::CALLS_OPEN`] calls.
//!
//! An inner call ends before the outer one, so a call is linked once it is asked: what caused it is open then.

mod rules;

use crate::limits;
use audit_common::abi::ConnKey;
use rules::{Clues, choose};
use std::collections::{HashMap, HashSet, VecDeque};

pub use rules::needle;

/// How long a call that has ended can still have caused one that began before its end: events of two processes may come
/// in another order than they happened, and plaintext waits for its socket.
const KEPT_AFTER_END_NS: u64 = 2_000_000_000;

/// A call's place: its connection, and the number of its exchange there.
pub type Place = (ConnKey, u64);

/// What caused a call.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Link {
    /// `traceparent`, `request_id`, `prompt_hash`, `prompt_text`, `process_time`, `ambiguous`, `none`.
    pub how: &'static str,
    /// The id of the exchange that caused it.
    pub caused_by: Option<String>,
    /// Those that may have, when it is ambiguous.
    pub candidates: Vec<String>,
    /// 0 for a call that no other on this host caused.
    pub hop: u64,
}

impl Link {
    pub fn none() -> Self {
        Self {
            how: "none",
            ..Self::default()
        }
    }
}

/// A call as it begins.
#[derive(Clone, Debug)]
pub struct Begun {
    pub id: String,
    /// The process that answers it; None when that is on another host.
    pub server_pid: Option<u32>,
    pub start_ns: u64,
    pub traceparent: Option<String>,
    pub request_id: Option<String>,
}

/// What is known of a call once it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The process that asks, and its ancestors, nearest first.
    pub lineage: &'a [u32],
    pub prompt_hash: Option<&'a str>,
    /// RFC 8785 form.
    pub prompt: Option<&'a [u8]>,
}

#[derive(Debug)]
struct Call {
    begun: Begun,
    clues: Clues,
    end_ns: Option<u64>,
    link: Option<Link>,
}

impl Call {
    fn open_at(&self, time_ns: u64) -> bool {
        self.begun.start_ns <= time_ns && self.end_ns.is_none_or(|end_ns| time_ns <= end_ns)
    }
}

/// All calls that are open, or ended just now.
#[derive(Debug, Default)]
pub struct Hops {
    calls: HashMap<Place, Call>,
    by_server: HashMap<u32, HashSet<Place>>,
    /// With the time of their end, which only grows.
    ended: VecDeque<(u64, Place)>,
}

impl Hops {
    /// False when there are too many, and this one will have no link.
    pub fn begin(&mut self, place: Place, begun: Begun) -> bool {
        self.remove(place);
        if self.calls.len() >= limits::CALLS_OPEN && !self.drop_oldest() {
            return false;
        }
        if let Some(pid) = begun.server_pid {
            self.by_server.entry(pid).or_default().insert(place);
        }
        let clues = Clues::of_head(&begun);
        let call = Call {
            begun,
            clues,
            end_ns: None,
            link: None,
        };
        self.calls.insert(place, call);
        true
    }

    /// The request is there: what caused it can be told, and what it says can tell what it causes.
    pub fn asked(&mut self, place: Place, asked: &Asked<'_>) {
        let Some(call) = self.calls.get_mut(&place) else {
            return;
        };
        call.clues.prompt_hash = asked.prompt_hash.map(str::to_owned);
        call.clues.needle = asked.prompt.and_then(needle);
        let (start_ns, clues) = (call.begun.start_ns, call.clues.clone());
        let link = self.link(place, start_ns, &clues, asked);
        if let Some(call) = self.calls.get_mut(&place) {
            call.link = Some(link);
        }
    }

    fn link(&self, place: Place, start_ns: u64, clues: &Clues, asked: &Asked<'_>) -> Link {
        let of_process = |pid: &u32| -> Vec<&Call> {
            let places = self.by_server.get(pid).into_iter().flatten();
            places
                .filter(|other| **other != place)
                .filter_map(|other| self.calls.get(other))
                .filter(|call| call.open_at(start_ns))
                .collect()
        };
        let open = asked
            .lineage
            .iter()
            .map(of_process)
            .find(|calls| !calls.is_empty());
        let open = open.unwrap_or_default();
        let candidates: Vec<&Clues> = open.iter().map(|call| &call.clues).collect();
        let (how, chosen) = choose(clues, asked.prompt, &candidates);
        let chosen: Vec<&Call> = chosen
            .into_iter()
            .filter_map(|index| open.get(index).copied())
            .collect();
        let hop = |call: &&Call| call.link.as_ref().map_or(0, |link| link.hop).saturating_add(1);
        let mut ids: Vec<String> = chosen.iter().map(|call| call.begun.id.clone()).collect();
        ids.sort();
        ids.truncate(limits::LINK_CANDIDATES);
        let hop = chosen.iter().map(hop).max().unwrap_or(0);
        match chosen.len() {
            1 => Link {
                how,
                caused_by: ids.pop(),
                candidates: Vec::new(),
                hop,
            },
            _ => Link {
                how,
                caused_by: None,
                candidates: ids,
                hop,
            },
        }
    }

    /// Whether the call was linked already.
    pub fn is_linked(&self, place: Place) -> bool {
        self.calls.get(&place).is_none_or(|call| call.link.is_some())
    }

    /// The call is over; gives its id and what caused it. None when it is not known, or was over before.
    pub fn end(&mut self, place: Place, end_ns: u64) -> Option<(String, Link)> {
        let call = self.calls.get_mut(&place).filter(|call| call.end_ns.is_none())?;
        call.end_ns = Some(end_ns);
        self.ended.push_back((end_ns, place));
        let link = call.link.clone().unwrap_or_else(Link::none);
        Some((call.begun.id.clone(), link))
    }

    /// The call does not count: it is recorded at the other end of its connection, or not at all.
    pub fn remove(&mut self, place: Place) {
        let Some(call) = self.calls.remove(&place) else {
            return;
        };
        let Some(pid) = call.begun.server_pid else { return };
        if let Some(places) = self.by_server.get_mut(&pid) {
            places.remove(&place);
            if places.is_empty() {
                self.by_server.remove(&pid);
            }
        }
    }

    /// Forgets calls that ended a while ago.
    pub fn expire(&mut self, now_ns: u64) {
        let over = |end_ns: u64| now_ns.saturating_sub(end_ns) > KEPT_AFTER_END_NS;
        while self.ended.front().is_some_and(|(end_ns, _)| over(*end_ns)) {
            self.drop_oldest();
        }
    }

    /// Forgets the call that ended first; false when all are open.
    fn drop_oldest(&mut self) -> bool {
        while let Some((end_ns, place)) = self.ended.pop_front() {
            // Another call may have begun in its place.
            if self
                .calls
                .get(&place)
                .is_some_and(|call| call.end_ns == Some(end_ns))
            {
                self.remove(place);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests;
