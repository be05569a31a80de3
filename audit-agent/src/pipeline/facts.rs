//! What the edges found out.
//!
//! In: [`HostFact`]s. Out: the records that a fact is worth of its own. Never: a fact that is not in the capture file.

use super::tls::SessionId;
use super::{Output, Pipeline};
use crate::event::{HostFact, ModelFile, StartFact};
use crate::flow::GapCause;
use crate::record::{AgentStart, Body, Gap, Model, rfc3339};
use audit_common::abi::ConnKey;
use std::collections::BTreeMap;

/// A wall clock that moved against the boot clock by more than this is said in the log.
const CLOCK_STEP_NS: u128 = 1_000_000_000;

impl Pipeline {
    pub(super) fn fact(&mut self, fact: HostFact, out: &mut Vec<Output>) {
        match fact {
            HostFact::Start(start) => self.started(start, out),
            HostFact::Clock { boot_ns, unix_ns } => self.clock(boot_ns, unix_ns, out),
            HostFact::Tick { boot_ns } => self.tick(boot_ns, out),
            HostFact::Process(fact) => {
                let pid = fact.pid;
                self.processes.learn(*fact);
                self.looked_up(pid, out);
            }
            HostFact::Models { pid, files, .. } => self.models(pid, files, out),
            HostFact::Peer {
                sock,
                generation,
                pid,
                ..
            } => {
                let key = ConnKey { sock, generation };
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.client_pid = Some(pid);
                    self.look_up(pid, out);
                }
            }
            HostFact::Loss {
                boot_ns,
                events,
                bytes,
            } => self.lost(boot_ns, events, bytes, out),
            HostFact::ConnSync {
                sock,
                generation,
                rx_bytes,
                tx_bytes,
            } => {
                let key = ConnKey { sock, generation };
                self.catch_up(key, rx_bytes, tx_bytes, GapCause::Ring, self.now_ns, out);
            }
            HostFact::Malformed { boot_ns, entries } => {
                let lost = BTreeMap::from([("entries".into(), entries)]);
                let gap = Gap {
                    place: "decode".into(),
                    lost,
                    ..Gap::default()
                };
                out.push(self.record(Body::Gap(gap), boot_ns));
            }
            HostFact::TlsLibraries { pid, libraries } => self.processes.learn_tls(pid, libraries),
            HostFact::TlsSync {
                pid,
                object,
                generation,
                rx_bytes,
                tx_bytes,
            } => {
                let session = ConnKey {
                    sock: object,
                    generation,
                };
                self.tls_sync(SessionId { pid, session }, rx_bytes, tx_bytes, self.now_ns, out);
            }
            HostFact::System(system) => self.system = system,
            HostFact::Stop { boot_ns, reason } => self.stopped(boot_ns, reason, out),
        }
    }

    fn started(&mut self, start: StartFact, out: &mut Vec<Output>) {
        self.now_ns = start.boot_ns;
        self.heartbeat_ns = start.boot_ns;
        self.offset_ns = i128::from(start.unix_ns) - i128::from(start.boot_ns);
        let body = AgentStart {
            agent_sha256: start.agent_sha256.clone(),
            agent_version: start.agent_version.clone(),
            boot_id: start.boot_id.clone(),
            capture_path: start.capture_path.clone(),
            config_sha256: start.config_sha256.clone(),
            heartbeat_s: self.options.heartbeat_s(),
            host: start.host.clone(),
            kernel: start.kernel.clone(),
            verifier_key: self.options.verifier_key.clone(),
        };
        out.push(self.record(Body::AgentStart(body), start.boot_ns));
        self.start = start;
    }

    fn clock(&mut self, boot_ns: u64, unix_ns: u64, out: &mut Vec<Output>) {
        let offset_ns = i128::from(unix_ns) - i128::from(boot_ns);
        if offset_ns.abs_diff(self.offset_ns) > CLOCK_STEP_NS {
            let since = rfc3339(self.unix_ns(boot_ns));
            self.offset_ns = offset_ns;
            let until = rfc3339(unix_ns);
            let gap = Gap {
                place: "clock".into(),
                since: Some(since),
                until: Some(until),
                ..Gap::default()
            };
            out.push(self.record(Body::Gap(gap), boot_ns));
        }
        self.offset_ns = offset_ns;
    }

    fn models(&mut self, pid: u32, files: Vec<ModelFile>, out: &mut Vec<Output>) {
        let known: Vec<_> = self
            .processes
            .models(pid)
            .iter()
            .filter_map(|file| file.sha256.clone())
            .collect();
        for file in &files {
            if file.sha256.as_ref().is_some_and(|digest| !known.contains(digest)) {
                let body = Model {
                    file: file.into(),
                    replaces: self.inventories.weights(file, self.now_ns),
                    server_pid: pid.into(),
                };
                out.push(self.record(Body::Model(body), self.now_ns));
            }
        }
        self.processes.learn_models(pid, files);
    }
}
