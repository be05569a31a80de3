//! The pure core as a whole: inputs in, records and requests to the edges out.
//!
//! In: [`Input`]s in the order of capture. Out: [`Output`]s. Never: IO, clocks, threads; memory beyond
//! [`crate::limits`]. Fed the same inputs it gives the same outputs, so a capture file replays exactly.

pub mod actions;
pub mod assemble;
mod bytes;
mod causes;
pub mod clients;
pub mod connection;
pub mod exchange;
mod executed;
mod facts;
mod finished;
pub mod hops;
pub mod inventory;
mod lifecycle;
mod listeners;
mod output;
mod plaintext;
pub mod processes;
pub mod tls;
mod unseen;
mod upkeep;
mod upstream;

pub use output::{Options, Output};

use crate::event::{Input, StartFact, SystemFact};
use crate::record::Body;
use actions::Actions;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use audit_common::decode::{Body as Kernel, Event};
use clients::Clients;
use connection::Connection;
use hops::Hops;
use inventory::Inventories;
use listeners::Listener;
use plaintext::Plaintext;
use processes::Processes;
use std::collections::{BTreeMap, HashMap};
use upstream::Ends;

#[derive(Debug)]
pub struct Pipeline {
    options: Options,
    start: StartFact,
    offset_ns: i128,
    now_ns: u64,
    heartbeat_ns: u64,
    connections: HashMap<ConnKey, Connection>,
    listeners: HashMap<u16, Listener>,
    processes: Processes,
    actions: Actions,
    pending: Vec<executed::Pending>,
    clients: Clients,
    ends: Ends,
    hops: Hops,
    inventories: Inventories,
    plaintext: Plaintext,
    system: SystemFact,
    losses: (Vec<u64>, Vec<u64>),
    counters: BTreeMap<&'static str, u64>,
}

impl Pipeline {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            start: StartFact::default(),
            offset_ns: 0,
            now_ns: 0,
            heartbeat_ns: 0,
            connections: HashMap::new(),
            listeners: HashMap::new(),
            processes: Processes::default(),
            actions: Actions::default(),
            pending: Vec::new(),
            clients: Clients::default(),
            ends: Ends::default(),
            hops: Hops::default(),
            inventories: Inventories::default(),
            plaintext: Plaintext::default(),
            system: SystemFact::default(),
            losses: (Vec::new(), Vec::new()),
            counters: BTreeMap::new(),
        }
    }

    /// Takes one input; what is to be done is appended to `out`.
    pub fn feed(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        match input {
            Input::Kernel(event) => self.kernel(&event, out),
            Input::Host(fact) => self.fact(fact, out),
        }
    }

    fn count(&mut self, name: &'static str, by: u64) {
        *self.counters.entry(name).or_default() += by;
    }

    fn unix_ns(&self, boot_ns: u64) -> u64 {
        assemble::unix_ns(boot_ns, self.offset_ns)
    }

    fn record(&self, body: Body, boot_ns: u64) -> Output {
        Output::Record {
            body: Box::new(body),
            unix_ns: self.unix_ns(boot_ns),
        }
    }

    fn kernel(&mut self, event: &Event<'_>, out: &mut Vec<Output>) {
        self.now_ns = self.now_ns.max(event.time_ns);
        match &event.body {
            Kernel::Data(data) => self.data(data, event, out),
            Kernel::ConnOpen(conn) => self.opened(conn, event, out),
            Kernel::ConnCounted(conn) => self.counted(conn, event, out),
            Kernel::ConnClose(conn) => self.closed(conn, event.time_ns, out),
            Kernel::ClientConnect(conn) => {
                self.clients.connected(conn, event.pid, event.time_ns);
                self.look_up(event.pid, out);
            }
            Kernel::Listen(conn) => {
                // First: a client may already be connecting.
                out.push(Output::NeedTls {
                    pid: event.pid,
                    at_once: true,
                });
                self.look_up(event.pid, out);
                if !self.options.filter.allows_port(conn.local_port) {
                    out.push(Output::Listener {
                        port: conn.local_port,
                        verdict: Verdict::Ignore,
                    });
                }
            }
            Kernel::Exec(process) => self.executed(process, event.time_ns, out),
            Kernel::Fork(_) => {}
            Kernel::Exit(process) => {
                self.processes.ended(process.pid, event.time_ns);
                self.tls_process_ended(process.pid, out);
            }
            Kernel::TlsData(data) => self.tls_data(data, event, out),
            Kernel::TlsSocket(tls) => self.tls_socket(tls, event, out),
            Kernel::TlsClose(tls) => self.tls_closed(tls, event, out),
            Kernel::Mapped(process) => out.push(Output::NeedTls {
                pid: process.pid,
                at_once: false,
            }),
        }
    }

    fn look_up(&self, pid: u32, out: &mut Vec<Output>) {
        if self.processes.wants_look_up(pid) {
            out.push(Output::NeedProcess { pid });
        }
    }
}
