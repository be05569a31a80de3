//! Exchanges that are over, and which record each of them is.
//!
//! In: [`Finished`] exchanges of one connection. Out: inference, admin and inventory records. Never: a record of an answer
//! that tells nothing new of what a server serves.

use super::assemble::{self, Surroundings};
use super::exchange::Finished;
use super::hops::Link;
use super::{Output, Pipeline};
use crate::content::Mode;
use crate::content::draft::Draft;
use crate::record::Body;
use crate::record::served::Admin;
use audit_common::abi::ConnKey;

impl Pipeline {
    pub(super) fn finish(&mut self, key: ConnKey, finished: &[Finished], out: &mut Vec<Output>) {
        for finished in finished {
            let (exchange_id, link) = self.ended(key, finished);
            let Some((mut body, counter)) = self.told(key, finished, exchange_id, link) else {
                continue;
            };
            self.keep(finished, &mut body, out);
            if finished.call.api == "undecoded" {
                self.count("inferences_undecoded", 1);
            }
            if finished.was_cut() {
                self.count("calls_cut", 1);
            }
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.gaps.clear();
                let pids = [connection.client_pid, connection.server_pid];
                if let Body::Inference(record) = &body {
                    self.watch_for_actions(&record.exchange_id, finished, pids);
                }
            }
            out.push(self.record(body, finished.end_ns));
            self.count(counter, 1);
        }
    }

    /// What the operator wants kept of prompts and completions: text, hashes, or neither.
    fn keep(&self, finished: &Finished, body: &mut Body, out: &mut Vec<Output>) {
        match self.options.content {
            Mode::None => body.content_hashes().for_each(|hash| *hash = None),
            Mode::Redacted | Mode::Full if matches!(body, Body::Inference(_)) => {
                out.push(Output::Content(Box::new(Draft::of(finished))));
            }
            Mode::Hash | Mode::Redacted | Mode::Full => {}
        }
    }

    /// The record of an exchange, and what it is counted as; None when nothing is to be recorded.
    fn told(
        &mut self,
        key: ConnKey,
        finished: &Finished,
        exchange_id: String,
        link: Link,
    ) -> Option<(Body, &'static str)> {
        let connection = self
            .connections
            .get(&key)
            .filter(|connection| !connection.ignored)?;
        let around = Surroundings {
            connection,
            exchange_id,
            link,
            processes: &self.processes,
            system: self.system,
            hasher: &self.options.hasher,
            capture_path: &self.start.capture_path,
            unix_offset_ns: self.offset_ns,
        };
        let call = &finished.call;
        if let Some(told) = &call.inventory {
            let (pid, port) = (
                connection.server_pid,
                connection.local.map_or(0, |local| local.port()),
            );
            let listener = self.listeners.get(&port);
            let serves = connection.exchanges.evidence.inference > 0
                || listener.is_some_and(|listener| listener.inference > 0);
            let seen = serves.then(|| self.inventories.news(pid, port, told, finished.end_ns))??;
            let record = assemble::inventory(finished, told, &seen, &around);
            return Some((Body::Inventory(Box::new(record)), "inventories"));
        }
        if call.api == "inventory" {
            return None;
        }
        let record = assemble::inference(finished, &around);
        Some(match &call.admin {
            Some(admin) => (Body::Admin(Box::new(Admin::new(admin, record))), "admin_calls"),
            None => (Body::Inference(Box::new(record)), "inferences"),
        })
    }
}
