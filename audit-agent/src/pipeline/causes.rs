//! Calls on their way through [`super::hops`]: what caused them is known before they end.
//!
//! In: the progress of a connection's exchanges. Out: the link that a record says.

use super::Pipeline;
use super::exchange::{Finished, Progress};
use super::hops::{Asked, Begun, Link, Place};
use audit_common::abi::ConnKey;

impl Pipeline {
    /// A name for a call that its record has, and the records of calls that it causes.
    pub(super) fn exchange_id(&self, key: ConnKey, (exchange, call): (u64, u64)) -> String {
        let session = self
            .connections
            .get(&key)
            .map_or(0, |connection| connection.sessions);
        let place = [key.sock, key.generation, session, exchange, call];
        self.options.hasher.exchange_id(&self.start.boot_id, place)
    }

    pub(super) fn progress(&mut self, key: ConnKey, progress: &[Progress]) {
        for step in progress {
            match step {
                Progress::Begun(exchange) => self.began((key, *exchange)),
                Progress::Asked(exchange) => self.asked((key, *exchange)),
            }
        }
    }

    fn began(&mut self, place: Place) {
        let (key, exchange) = place;
        let Some(connection) = self
            .connections
            .get(&key)
            .filter(|connection| !connection.ignored)
        else {
            return;
        };
        let Some((outline, _)) = connection.exchanges.outline(exchange) else {
            return;
        };
        let begun = Begun {
            id: self.exchange_id(key, outline.number),
            server_pid: connection.server_pid,
            start_ns: outline.start_ns,
            traceparent: outline.traceparent.clone(),
            request_id: outline.request_id.clone(),
        };
        if !self.hops.begin(place, begun) {
            self.count("calls_not_linked", 1);
        }
    }

    fn asked(&mut self, place: Place) {
        let (key, exchange) = place;
        let Some(connection) = self.connections.get(&key) else {
            return;
        };
        let Some((outline, prompt)) = connection.exchanges.outline(exchange) else {
            return;
        };
        let lineage = self.lineage(connection.client_pid);
        let asked = Asked {
            lineage: &lineage,
            prompt_hash: outline.prompt_hash.as_deref(),
            prompt,
        };
        self.hops.asked(place, &asked);
        if let Some(prompt) = prompt.filter(|_| self.actions.is_open()) {
            self.actions.asked(&lineage, prompt);
        }
    }

    fn lineage(&self, pid: Option<u32>) -> Vec<u32> {
        pid.map_or_else(Vec::new, |pid| self.processes.lineage(pid))
    }

    /// A call is over: its id, and what caused it. The next call of its exchange, if there is one, begins.
    pub(super) fn ended(&mut self, key: ConnKey, finished: &Finished) -> (String, Link) {
        let place = (key, finished.number.0);
        let Some(connection) = self.connections.get(&key) else {
            return (self.exchange_id(key, finished.number), Link::none());
        };
        let goes_on = connection.exchanges.outline(place.1).is_some();
        if !self.hops.is_linked(place) {
            // Its request was not seen whole, or had no end of its own.
            let lineage = self.lineage(connection.client_pid);
            let asked = Asked {
                lineage: &lineage,
                prompt_hash: finished.prompt_hash.as_deref(),
                prompt: finished.call.prompt_canonical.as_deref(),
            };
            self.hops.asked(place, &asked);
        }
        let ended = self.hops.end(place, finished.end_ns);
        if goes_on {
            self.began(place);
        }
        ended.unwrap_or_else(|| (self.exchange_id(key, finished.number), Link::none()))
    }

    /// A connection is over, or does not count: what is open on it causes nothing more.
    pub(super) fn forget_calls(&mut self, key: ConnKey) {
        let open = self
            .connections
            .get(&key)
            .map(|connection| connection.exchanges.numbers());
        for exchange in open.unwrap_or_default() {
            self.hops.remove((key, exchange));
        }
    }
}
