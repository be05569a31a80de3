//! The pure core as a whole: inputs in, records and requests to the edges out.
//!
//! In: [`Input`]s in the order of capture. Out: [`Output`]s. Never: IO, clocks, threads; memory beyond
//! [`crate::limits`]. Fed the same inputs it gives the same outputs, so a capture file replays exactly.

pub mod assemble;
pub mod clients;
pub mod connection;
pub mod exchange;
mod plaintext;
pub mod processes;
pub mod tls;

use crate::event::{HostFact, Input, StartFact, SystemFact};
use crate::flow::{GapCause, Piece, index};
use crate::http::{self, Chunk};
use crate::limits;
use crate::policy::filter::Filter;
use crate::record::hash::Hasher;
use crate::record::{self, AgentStart, AgentStop, Body, Gap, Heartbeat, INTEGER_MAX, Model, rfc3339};
use assemble::Surroundings;
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use audit_common::decode::{Body as Kernel, Conn, Data, Direction, Event};
use audit_common::loss::LOSS_NAMES;
use clients::Clients;
use connection::Connection;
use exchange::{Exchanges, Finished};
use plaintext::Plaintext;
use processes::Processes;
use std::collections::{BTreeMap, HashMap};
use tls::SessionId;

/// Late data events may follow the end of a connection by this much.
const GRACE_NS: u64 = 200_000_000;
/// A unix connection has no death event: after its peer's end it is over when it is quiet for so long.
const UNIX_QUIET_NS: u64 = 2_000_000_000;
/// An open exchange that is quiet for so long is compared with the kernel's counters.
const SYNC_AFTER_NS: u64 = 2_000_000_000;
/// Requests that are no calls, after which a listener that never had one is followed by its heads only.
const HEAD_ONLY_AFTER: u64 = 64;
/// A wall clock that moved against the boot clock by more than this is said in the log.
const CLOCK_STEP_NS: u128 = 1_000_000_000;

/// What the edges shall do.
#[derive(Debug)]
pub enum Output {
    /// Sign and store, with the wall-clock time it is about.
    Record {
        body: Box<Body>,
        unix_ns: u64,
    },
    Verdict {
        conn: ConnKey,
        verdict: Verdict,
    },
    Listener {
        port: u16,
        verdict: Verdict,
    },
    /// The kernel's state of the connection is not needed any more.
    Forget(ConnKey),
    /// Look the process up and feed a [`HostFact::Process`].
    NeedProcess {
        pid: u32,
    },
    /// Look up which weights it has open and feed [`HostFact::Models`].
    NeedModels {
        pid: u32,
    },
    /// Find the process at the other end and feed a [`HostFact::Peer`].
    NeedPeer {
        conn: ConnKey,
        local: std::net::SocketAddr,
        remote: std::net::SocketAddr,
    },
    /// Find the path of the unix socket and feed a [`HostFact::UnixPath`].
    NeedUnixPath {
        conn: ConnKey,
        inode: u64,
    },
    /// Read the kernel's counters of the connection and feed a [`HostFact::ConnSync`].
    NeedSync(ConnKey),
    /// Look for TLS libraries in the process, see into them, and feed a [`HostFact::TlsLibraries`].
    NeedTls {
        pid: u32,
    },
    TlsVerdict {
        id: SessionId,
        verdict: Verdict,
    },
    /// The kernel's state of the session is not needed any more.
    ForgetTls {
        id: SessionId,
    },
    /// Read the kernel's counters of the session and feed a [`HostFact::TlsSync`].
    NeedTlsSync {
        id: SessionId,
    },
}

/// What an operator chose.
#[derive(Debug)]
pub struct Options {
    pub filter: Filter,
    pub hasher: Hasher,
    pub heartbeat_ns: u64,
    /// The log's public key, for its first record.
    pub verifier_key: String,
}

/// What a listening port has shown to be.
#[derive(Clone, Copy, Debug, Default)]
struct Listener {
    inference: u64,
    other: u64,
    not_http: u64,
    verdict: Option<Verdict>,
}

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
    clients: Clients,
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
            clients: Clients::default(),
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
            Kernel::ConnClose(conn) => self.closed(conn, event.time_ns, out),
            Kernel::ClientConnect(conn) => {
                self.clients.connected(conn, event.pid, event.time_ns);
                self.look_up(event.pid, out);
            }
            Kernel::Listen(conn) => {
                self.look_up(event.pid, out);
                out.push(Output::NeedTls { pid: event.pid });
                if !self.options.filter.allows_port(conn.local_port) {
                    out.push(Output::Listener {
                        port: conn.local_port,
                        verdict: Verdict::Ignore,
                    });
                }
            }
            Kernel::Exec(process) => self.processes.executed(process),
            Kernel::Fork(_) => {}
            Kernel::Exit(process) => {
                self.processes.ended(process.pid, event.time_ns);
                self.tls_process_ended(process.pid, out);
            }
            Kernel::TlsData(data) => self.tls_data(data, event, out),
            Kernel::TlsSocket(tls) => self.tls_socket(tls, event, out),
            Kernel::TlsClose(tls) => self.tls_closed(tls, event, out),
            Kernel::Mapped(process) => out.push(Output::NeedTls { pid: process.pid }),
        }
    }

    fn look_up(&self, pid: u32, out: &mut Vec<Output>) {
        if self.processes.wants_look_up(pid) {
            out.push(Output::NeedProcess { pid });
        }
    }

    fn opened(&mut self, conn: &Conn, event: &Event<'_>, out: &mut Vec<Output>) {
        const AF_UNIX: u16 = 1;
        let is_unix = conn.family == AF_UNIX;
        if self.connections.len() >= limits::CONNECTIONS {
            self.evict(out);
        }
        let (local, remote) = (clients::local(conn), clients::remote(conn));
        let client_pid = if is_unix {
            Some(conn.peer_pid).filter(|pid| *pid != 0)
        } else {
            self.clients.take(conn)
        };
        self.look_up(event.pid, out);
        match (client_pid, local, remote) {
            (Some(pid), ..) => self.look_up(pid, out),
            (None, Some(local), Some(remote)) if local.ip() == remote.ip() || remote.ip().is_loopback() => {
                out.push(Output::NeedPeer {
                    conn: conn.conn,
                    local,
                    remote,
                });
            }
            _ => {}
        }
        if is_unix {
            out.push(Output::NeedUnixPath {
                conn: conn.conn,
                inode: conn.inode,
            });
        }
        self.count("connections", 1);
        let ignored = local.is_some_and(|local| !self.options.filter.allows_port(local.port()));
        // Birth of a unix connection is not seen, but its first bytes tell as well as a TCP one's.
        let joined = conn.joined && !is_unix;
        self.connections.insert(
            conn.conn,
            Connection {
                key: conn.conn,
                local,
                remote,
                unix_path: None,
                is_unix,
                server_pid: event.pid,
                client_pid,
                peer_uid: is_unix.then_some(conn.peer_uid),
                joined: conn.joined,
                http: http::Connection::new(joined),
                exchanges: Exchanges::default(),
                streams: Default::default(),
                gaps: BTreeMap::new(),
                last_ns: event.time_ns,
                closed_ns: None,
                ignored,
                tls: None,
                wire_bytes: 0,
            },
        );
        if ignored {
            out.push(Output::Verdict {
                conn: conn.conn,
                verdict: Verdict::Ignore,
            });
        }
    }

    fn data(&mut self, data: &Data<'_>, event: &Event<'_>, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&data.conn) else {
            // Its opening was lost, or it was judged or ended before.
            self.count("bytes_without_connection", u64::from(data.stream_len));
            return;
        };
        if connection.ignored {
            return;
        }
        connection.last_ns = event.time_ns;
        if event.pid != 0 {
            connection.server_pid = event.pid;
        }
        if connection.tls.is_some() {
            return;
        }
        if connection.streams.iter().all(|stream| stream.seen == 0) && tls::is_record(data.bytes) {
            self.found_tls(data.conn, out);
            return;
        }
        self.stream(data.conn, data, event.time_ns, out);
    }

    /// Bytes of HTTP, as they were on the socket or as a TLS library had them, on the connection `key`.
    fn stream(&mut self, key: ConnKey, data: &Data<'_>, time_ns: u64, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        let Connection {
            http,
            exchanges,
            streams,
            gaps,
            ..
        } = connection;
        let before = exchanges.evidence;
        streams[index(data.direction)].accept(data, |piece| {
            let chunk = chunk(piece, gaps);
            let response = data.direction == Direction::Tx;
            http.push(response, chunk, &mut |http_event| {
                finished.extend(exchanges.event(http_event, time_ns, hasher));
            });
        });
        let after = exchanges.evidence;
        if after != before {
            self.judge(key, before, after, out);
        }
        self.finish(key, &finished, out);
    }

    /// A connection has shown something of what it is.
    fn judge(
        &mut self,
        key: ConnKey,
        before: exchange::Evidence,
        after: exchange::Evidence,
        out: &mut Vec<Output>,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let pid = connection.server_pid;
        if after.not_http {
            connection.ignored = true;
            out.push(connection.judged(Verdict::Ignore));
        }
        if after.inference > 0 && before.inference == 0 {
            let unwanted = self
                .processes
                .get(pid)
                .is_some_and(|fact| !self.options.filter.allows_process(fact));
            let verdict = if unwanted { Verdict::Ignore } else { Verdict::Watch };
            connection.ignored |= unwanted;
            out.push(connection.judged(verdict));
            if !unwanted && self.processes.wants_models(pid, self.now_ns) {
                out.push(Output::NeedModels { pid });
            }
        }
        let Some(port) = connection.local.map(|local| local.port()) else {
            return;
        };
        let listener = self.listeners.entry(port).or_default();
        listener.inference += after.inference - before.inference;
        listener.other += after.other - before.other;
        listener.not_http += u64::from(after.not_http);
        let verdict = if listener.inference > 0 {
            Verdict::Watch
        } else if listener.other >= HEAD_ONLY_AFTER {
            Verdict::HeadOnly
        } else {
            return;
        };
        if listener.verdict != Some(verdict) {
            listener.verdict = Some(verdict);
            out.push(Output::Listener { port, verdict });
            if verdict == Verdict::Watch {
                self.watch_all(port, out);
            }
        }
    }

    /// A listener under a head-only verdict turned out to be an inference server after all.
    fn watch_all(&self, port: u16, out: &mut Vec<Output>) {
        let of_port = self
            .connections
            .values()
            .filter(|c| !c.ignored && c.local.is_some_and(|l| l.port() == port));
        out.extend(of_port.map(|connection| connection.judged(Verdict::Watch)));
    }

    fn finish(&mut self, key: ConnKey, finished: &[Finished], out: &mut Vec<Output>) {
        for finished in finished {
            let Some(connection) = self.connections.get_mut(&key) else {
                return;
            };
            if connection.ignored {
                continue;
            }
            let around = Surroundings {
                connection,
                processes: &self.processes,
                system: self.system,
                hasher: &self.options.hasher,
                capture_path: &self.start.capture_path,
                unix_offset_ns: self.offset_ns,
            };
            let body = Body::Inference(Box::new(assemble::inference(finished, &around)));
            connection.gaps.clear();
            out.push(self.record(body, finished.end_ns));
            self.count("inferences", 1);
        }
    }

    fn closed(&mut self, conn: &Conn, time_ns: u64, out: &mut Vec<Output>) {
        if self
            .connections
            .get(&conn.conn)
            .is_some_and(|connection| connection.tls.is_none())
        {
            self.catch_up(conn.conn, conn.rx_bytes, conn.tx_bytes, time_ns, out);
        }
        match self.connections.get_mut(&conn.conn) {
            Some(connection) => {
                connection.closed_ns.get_or_insert(time_ns);
                connection.wire_bytes = conn.rx_bytes.saturating_add(conn.tx_bytes);
            }
            None => out.push(Output::Forget(conn.conn)),
        }
    }

    /// The kernel has counted so many bytes: what did not come is declared missing.
    fn catch_up(&mut self, key: ConnKey, rx: u64, tx: u64, time_ns: u64, out: &mut Vec<Output>) {
        let Some(connection) = self
            .connections
            .get_mut(&key)
            .filter(|connection| !connection.ignored)
        else {
            return;
        };
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        let Connection {
            http,
            exchanges,
            streams,
            gaps,
            ..
        } = connection;
        for (response, total) in [(false, rx), (true, tx)] {
            streams[usize::from(response)].catch_up(total, |piece| {
                let chunk = chunk(piece, gaps);
                http.push(response, chunk, &mut |event| {
                    finished.extend(exchanges.event(event, time_ns, hasher))
                });
            });
        }
        self.finish(key, &finished, out);
    }

    /// A connection is over, or (`lost`) out of our sight: what is open on it ends, and what could not be assigned
    /// is declared.
    fn end(&mut self, key: ConnKey, lost: bool, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let time_ns = connection.closed_ns.unwrap_or(connection.last_ns);
        let mut finished = Vec::new();
        let hasher = &self.options.hasher;
        let Connection { http, exchanges, .. } = connection;
        let mut sink = |event: http::HttpEvent<'_>| finished.extend(exchanges.event(event, time_ns, hasher));
        if lost {
            http.lose(&mut sink)
        } else {
            http.close(&mut sink)
        }
        self.finish(key, &finished, out);
        self.declare_skipped(key, out);
        self.tls_ended(key, out);
        self.connections.remove(&key);
        out.push(Output::Forget(key));
    }

    /// Bytes on a connection of an inference server that belong to no record.
    fn declare_skipped(&mut self, key: ConnKey, out: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let (seen, missed) = (
            connection.exchanges.skipped_seen,
            connection.exchanges.skipped_missed,
        );
        let port = connection.local.map(|local| local.port());
        let serves = port.is_some_and(|port| self.listeners.get(&port).is_some_and(|l| l.inference > 0));
        if connection.ignored
            || seen.saturating_add(missed) == 0
            || !(serves || connection.exchanges.evidence.inference > 0)
        {
            return;
        }
        connection.exchanges.skipped_seen = 0;
        connection.exchanges.skipped_missed = 0;
        let gap = Gap {
            place: "reassembly".into(),
            lost_bytes: BTreeMap::from([
                ("missed".into(), missed.min(INTEGER_MAX)),
                ("unassigned".into(), seen),
            ]),
            connection: Some(record::Connection {
                client: connection.client_name(),
                server: connection.server_name(),
                server_pid: Some(connection.server_pid.into()),
            }),
            ..Gap::default()
        };
        let time_ns = connection.last_ns;
        out.push(self.record(Body::Gap(gap), time_ns));
    }

    /// Room for a new connection: the one that was quiet longest goes.
    fn evict(&mut self, out: &mut Vec<Output>) {
        let quietest = self
            .connections
            .values()
            .min_by_key(|connection| connection.last_ns);
        if let Some(key) = quietest.map(|connection| connection.key) {
            self.count("connections_evicted", 1);
            self.end(key, true, out);
        }
    }

    fn fact(&mut self, fact: HostFact, out: &mut Vec<Output>) {
        match fact {
            HostFact::Start(start) => self.started(start, out),
            HostFact::Clock { boot_ns, unix_ns } => self.clock(boot_ns, unix_ns, out),
            HostFact::Tick { boot_ns } => self.tick(boot_ns, out),
            HostFact::Process(fact) => self.processes.learn(fact),
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
            HostFact::UnixPath {
                sock,
                generation,
                path,
            } => {
                if let Some(connection) = self.connections.get_mut(&ConnKey { sock, generation }) {
                    connection.unix_path = Some(path);
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
                self.catch_up(ConnKey { sock, generation }, rx_bytes, tx_bytes, self.now_ns, out);
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

    fn models(&mut self, pid: u32, files: Vec<crate::event::ModelFile>, out: &mut Vec<Output>) {
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
                    server_pid: pid.into(),
                };
                out.push(self.record(Body::Model(body), self.now_ns));
            }
        }
        self.processes.learn_models(pid, files);
    }

    fn lost(&mut self, boot_ns: u64, events: Vec<u64>, bytes: Vec<u64>, out: &mut Vec<Output>) {
        let grown = |new: &[u64], old: &[u64]| {
            let pairs = new
                .iter()
                .enumerate()
                .map(|(i, n)| (i, n.saturating_sub(old.get(i).copied().unwrap_or(0))));
            let named = pairs.filter(|(_, by)| *by > 0);
            named
                .filter_map(|(i, by)| Some(((*LOSS_NAMES.get(i)?).to_owned(), by)))
                .collect::<BTreeMap<_, _>>()
        };
        let (lost, lost_bytes) = (grown(&events, &self.losses.0), grown(&bytes, &self.losses.1));
        self.losses = (events, bytes);
        if !lost.is_empty() {
            let until = Some(rfc3339(self.unix_ns(boot_ns)));
            let gap = Gap {
                place: "ring_buffer".into(),
                lost,
                lost_bytes,
                until,
                ..Gap::default()
            };
            out.push(self.record(Body::Gap(gap), boot_ns));
        }
    }

    fn tick(&mut self, boot_ns: u64, out: &mut Vec<Output>) {
        self.now_ns = self.now_ns.max(boot_ns);
        self.processes.expire(boot_ns);
        self.clients.expire(boot_ns);
        let quiet = |connection: &Connection| boot_ns.saturating_sub(connection.last_ns);
        let over = |connection: &&Connection| match connection.closed_ns {
            Some(closed) => boot_ns.saturating_sub(closed) >= GRACE_NS,
            None => connection.is_unix && connection.streams[0].ended && quiet(connection) >= UNIX_QUIET_NS,
        };
        let mut ended: Vec<ConnKey> = self.connections.values().filter(over).map(|c| c.key).collect();
        ended.sort();
        for key in ended {
            self.end(key, false, out);
        }
        let stuck =
            |connection: &&Connection| connection.exchanges.open() > 0 && quiet(connection) >= SYNC_AFTER_NS;
        let mut stuck: Vec<_> = self.connections.values().filter(stuck).collect();
        stuck.sort_by_key(|connection| connection.key);
        out.extend(stuck.into_iter().filter_map(Connection::sync));
        self.tls_tick(boot_ns, out);
        if boot_ns.saturating_sub(self.heartbeat_ns) >= self.options.heartbeat_ns {
            self.heartbeat_ns = boot_ns;
            let body = Body::Heartbeat(Heartbeat {
                counters: self.totals(),
            });
            out.push(self.record(body, boot_ns));
        }
    }

    fn totals(&self) -> BTreeMap<String, u64> {
        let mut totals: BTreeMap<String, u64> = self
            .counters
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        totals.insert("connections_open".into(), self.connections.len() as u64);
        totals.insert("tls_sessions_open".into(), self.plaintext.sessions.count() as u64);
        for (index, count) in self.losses.0.iter().enumerate() {
            if let Some(name) = LOSS_NAMES.get(index) {
                totals.insert(format!("lost_{name}"), *count);
            }
        }
        totals
    }

    fn stopped(&mut self, boot_ns: u64, reason: String, out: &mut Vec<Output>) {
        let mut keys: Vec<ConnKey> = self.connections.keys().copied().collect();
        keys.sort();
        for key in keys {
            self.end(key, true, out);
        }
        self.declare_blind(boot_ns, out);
        let body = Body::AgentStop(AgentStop {
            counters: self.totals(),
            reason,
        });
        out.push(self.record(body, boot_ns));
    }
}

fn chunk<'a>(piece: Piece<'a>, gaps: &mut BTreeMap<GapCause, u64>) -> Chunk<'a> {
    match piece {
        Piece::Data(bytes) => Chunk::Data(bytes),
        Piece::Gap(len, cause) => {
            let total = gaps.entry(cause).or_default();
            *total = total.saturating_add(len);
            Chunk::Gap(len)
        }
        Piece::Eof => Chunk::Eof,
    }
}
