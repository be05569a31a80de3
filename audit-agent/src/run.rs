//! The agent at work: the kernel's events through the pure core into the log.
//!
//! In: an attached kernel side, an open ledger. Out: records on the log and the sinks. One thread: it waits for the
//! kernel, for a signal, or for its timer; digests of weights are computed beside it.

use crate::capture::file::Writer;
use crate::capture::live::Kernel;
use crate::event::{HostFact, Input, ModelFile};
use crate::host::digest::Digests;
use crate::host::tls::Scanner;
use crate::host::{clock, models, process, sockets, system};
use crate::ledger::Ledger;
use crate::pipeline::{Output, Pipeline};
use crate::sink::Sink;
use audit_common::abi::ConnKey;
use audit_common::decode::Event;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::AsFd;
use tracing::{error, info, warn};

/// Longest wait while nothing wakes us: bounds how late the events of a quiet host are seen.
const FLUSH_MS: u16 = 50;
/// Events that are handled before signals and timers get a turn.
const BATCH: usize = 4096;
const TICK_NS: u64 = 100_000_000;
const SLOW_TICK_NS: u64 = 1_000_000_000;
/// How often the weights of known servers are looked up again: a server may load another model.
const MODELS_NS: u64 = 30_000_000_000;

/// Everything that a run holds.
pub struct Run {
    pub kernel: Kernel,
    pub pipeline: Pipeline,
    /// None while only a capture is recorded.
    pub ledger: Option<Ledger>,
    pub sink: Sink,
    pub recorder: Option<Writer<BufWriter<File>>>,
    pub digests: Digests,
    pub signals: SignalFd,
    edge: Edge,
}

/// What the edge remembers.
#[derive(Debug, Default)]
struct Edge {
    servers: BTreeMap<u32, Vec<ModelFile>>,
    libraries: Scanner,
    /// Processes whose TLS libraries are to be looked for.
    tls_due: BTreeSet<u32>,
    tick_ns: u64,
    slow_tick_ns: u64,
    models_ns: u64,
    /// Ring-buffer entries that are no events.
    malformed: u64,
    log_failed: bool,
    outputs: Vec<Output>,
    facts: VecDeque<HostFact>,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run")
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

impl Run {
    pub fn new(kernel: Kernel, pipeline: Pipeline, sink: Sink, signals: SignalFd) -> Self {
        let (ledger, recorder, digests, edge) = (None, None, Digests::start(), Edge::default());
        Self {
            kernel,
            pipeline,
            ledger,
            sink,
            recorder,
            digests,
            signals,
            edge,
        }
    }

    /// Runs until a signal; the last record of the log says which.
    pub fn run(&mut self, config_sha256: Option<String>) -> anyhow::Result<()> {
        let start = system::start(self.kernel.path().name(), config_sha256);
        self.fact(HostFact::Start(start));
        self.seed();
        info!(path = self.kernel.path().name(), "audit-agent ready");
        let reason = loop {
            self.wait()?;
            self.drain();
            self.see_into_tls();
            self.timers();
            self.sink.flush();
            if let Ok(Some(signal)) = self.signals.read_signal() {
                break format!("signal {}", signal.ssi_signo);
            }
        };
        while self.drain() == BATCH {}
        self.losses();
        self.fact(HostFact::Stop {
            boot_ns: clock::boot_ns(),
            reason,
        });
        self.sink.flush();
        if let Some(recorder) = &mut self.recorder {
            recorder.flush()?;
        }
        match &mut self.ledger {
            Some(ledger) => ledger.close(clock::unix_ns()).map_err(Into::into),
            None => Ok(()),
        }
    }

    /// Tells the kernel side what was there before it.
    fn seed(&mut self) {
        let found = sockets::listeners();
        info!(
            ports = found.ports.len(),
            processes = found.pids.len(),
            "listeners found"
        );
        for port in found.ports {
            if let Err(error) = self
                .kernel
                .set_listener(port, audit_common::config::Verdict::Undecided)
            {
                warn!(%error, port, "a listener is not watched");
            }
        }
        for pid in found.pids {
            if let Err(error) = self.kernel.watch_process(pid) {
                warn!(%error, pid, "a process is not watched");
            }
            let fact = process::look_up(pid, &mut self.digests);
            self.fact(HostFact::Process(Box::new(fact)));
            self.edge.tls_due.insert(pid);
            // Digests of large weights take minutes: begin before the first call.
            self.look_up_models(pid);
            self.carry_out();
        }
        self.see_into_tls();
    }

    fn wait(&self) -> anyhow::Result<()> {
        let ring = PollFd::new(self.kernel.readiness(), PollFlags::POLLIN);
        let signals = PollFd::new(self.signals.as_fd(), PollFlags::POLLIN);
        match poll(&mut [ring, signals], PollTimeout::from(FLUSH_MS)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Events one by one: what one asks for is looked up before the next, while its process still lives.
    fn drain(&mut self) -> usize {
        for count in 0..BATCH {
            let Self {
                kernel,
                pipeline,
                recorder,
                edge,
                ..
            } = self;
            let drained = kernel.drain(1, |bytes| match Event::parse(bytes) {
                Ok(event) => {
                    if let Some(recorder) = recorder {
                        record_failed(recorder.kernel(bytes));
                    }
                    pipeline.feed(Input::Kernel(event), &mut edge.outputs);
                }
                Err(_) => edge.malformed += 1,
            });
            if drained == 0 {
                return count;
            }
            self.carry_out();
        }
        BATCH
    }

    /// Feeds a fact, and all that follows from it.
    fn fact(&mut self, fact: HostFact) {
        self.edge.facts.push_back(fact);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        loop {
            for output in std::mem::take(&mut self.edge.outputs) {
                self.output(output);
            }
            let Some(fact) = self.edge.facts.pop_front() else {
                return;
            };
            if let Some(recorder) = &mut self.recorder {
                record_failed(recorder.host(&fact));
            }
            self.pipeline.feed(Input::Host(fact), &mut self.edge.outputs);
        }
    }

    fn output(&mut self, output: Output) {
        let failed = match output {
            Output::Record { body, unix_ns } => {
                if let Some(ledger) = &mut self.ledger {
                    let lines = ledger.submit(&body, unix_ns);
                    lines.iter().for_each(|line| self.sink.line(&line.bytes));
                }
                None
            }
            Output::Verdict { conn, verdict } => self.kernel.set_verdict(conn, verdict).err(),
            Output::Listener { port, verdict } => self.kernel.set_listener(port, verdict).err(),
            Output::Upstream { pid, follow } => self.kernel.follow_upstream(pid, follow).err(),
            Output::Forget(conn) => {
                self.kernel.forget(conn);
                None
            }
            Output::NeedProcess { pid } => {
                let fact = process::look_up(pid, &mut self.digests);
                self.edge.facts.push_back(HostFact::Process(Box::new(fact)));
                None
            }
            Output::NeedModels { pid } => {
                self.look_up_models(pid);
                None
            }
            Output::NeedPeer { conn, local, remote } => {
                if let Some(pid) = sockets::holder_of(remote, local) {
                    let ConnKey { sock, generation } = conn;
                    self.edge.facts.push_back(HostFact::Peer {
                        sock,
                        generation,
                        pid,
                        start_ns: 0,
                    });
                }
                None
            }
            Output::NeedUnixPath { conn, inode } => {
                let ConnKey { sock, generation } = conn;
                if let Some(path) = sockets::unix_path(std::process::id(), inode) {
                    self.edge.facts.push_back(HostFact::UnixPath {
                        sock,
                        generation,
                        path,
                    });
                }
                None
            }
            Output::NeedTls { pid, at_once: true } => {
                self.edge.tls_due.remove(&pid);
                self.see_into(pid);
                None
            }
            Output::NeedTls { pid, at_once: false } => {
                self.edge.tls_due.insert(pid);
                None
            }
            Output::TlsVerdict { id, verdict } => self.kernel.set_tls_verdict(id, verdict).err(),
            Output::ForgetTls { id } => {
                self.kernel.forget_tls(id);
                None
            }
            Output::NeedTlsSync { id } => {
                if let Some((rx_bytes, tx_bytes)) = self.kernel.tls_counted(id) {
                    self.edge.facts.push_back(HostFact::TlsSync {
                        pid: id.pid,
                        object: id.session.sock,
                        generation: id.session.generation,
                        rx_bytes,
                        tx_bytes,
                    });
                }
                None
            }
            Output::NeedSync(conn) => {
                if let Some((rx_bytes, tx_bytes)) = self.kernel.counted(conn) {
                    let ConnKey { sock, generation } = conn;
                    self.edge.facts.push_back(HostFact::ConnSync {
                        sock,
                        generation,
                        rx_bytes,
                        tx_bytes,
                    });
                }
                None
            }
        };
        if let Some(error) = failed {
            warn!(%error, "the kernel side could not be told a verdict");
        }
    }

    fn look_up_models(&mut self, pid: u32) {
        let files = models::of_process(pid, &mut self.digests);
        let known = self.edge.servers.get(&pid).map_or(&[][..], Vec::as_slice);
        if known != files.as_slice() {
            self.edge.servers.insert(pid, files.clone());
            self.edge.facts.push_back(HostFact::Models {
                pid,
                start_ns: 0,
                files,
            });
        }
    }

    /// Probes the TLS libraries of the processes that asked for it, each of them once however often they asked.
    fn see_into_tls(&mut self) {
        for pid in std::mem::take(&mut self.edge.tls_due) {
            self.see_into(pid);
        }
        self.carry_out();
    }

    fn see_into(&mut self, pid: u32) {
        let mut libraries = Vec::new();
        for library in self.edge.libraries.libraries(pid) {
            let mut fact = library.fact();
            if let Err(error) = self.kernel.see_into(&library, pid) {
                warn!(%error, pid, path = fact.path, "a TLS library cannot be seen into");
                fact.problem = Some(error.to_string());
            }
            libraries.push(fact);
        }
        if libraries.iter().any(|library| library.problem.is_none())
            && let Err(error) = self.kernel.watch_tls(pid)
        {
            warn!(%error, pid, "the sockets of a process are not tied to its TLS sessions");
        }
        if !libraries.is_empty() {
            self.edge
                .facts
                .push_back(HostFact::TlsLibraries { pid, libraries });
        }
    }

    fn timers(&mut self) {
        let now = clock::boot_ns();
        if now.saturating_sub(self.edge.tick_ns) < TICK_NS {
            return;
        }
        self.edge.tick_ns = now;
        let refresh = now.saturating_sub(self.edge.models_ns) >= MODELS_NS;
        if self.digests.collect() || refresh {
            self.edge.models_ns = now;
            self.refresh_models();
        }
        if now.saturating_sub(self.edge.slow_tick_ns) >= SLOW_TICK_NS {
            self.edge.slow_tick_ns = now;
            self.fact(HostFact::Clock {
                boot_ns: clock::boot_ns(),
                unix_ns: clock::unix_ns(),
            });
            self.fact(HostFact::System(system::state()));
            self.losses();
        }
        self.fact(HostFact::Tick { boot_ns: now });
        self.commit();
    }

    fn refresh_models(&mut self) {
        self.edge
            .servers
            .retain(|pid, _| std::path::Path::new(&format!("/proc/{pid}")).exists());
        self.kernel
            .forget_processes(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists());
        let pids: Vec<u32> = self.edge.servers.keys().copied().collect();
        for pid in pids {
            self.look_up_models(pid);
        }
        self.carry_out();
    }

    fn losses(&mut self) {
        let entries = std::mem::take(&mut self.edge.malformed);
        if entries > 0 {
            self.fact(HostFact::Malformed {
                boot_ns: clock::boot_ns(),
                entries,
            });
        }
        match self.kernel.losses() {
            Ok(counters) => self.fact(HostFact::Loss {
                boot_ns: clock::boot_ns(),
                events: counters.events.to_vec(),
                bytes: counters.bytes.to_vec(),
            }),
            Err(error) => warn!(%error, "the kernel's loss counters cannot be read"),
        }
    }

    fn commit(&mut self) {
        let Some(ledger) = &mut self.ledger else { return };
        match ledger.commit(clock::unix_ns()) {
            Ok(lines) => {
                if std::mem::take(&mut self.edge.log_failed) {
                    info!("the log takes lines again");
                }
                lines.iter().for_each(|line| self.sink.line(&line.bytes));
            }
            Err(problem) if !self.edge.log_failed => {
                self.edge.log_failed = true;
                error!("{problem}");
            }
            Err(_) => {}
        }
    }
}

fn record_failed(result: std::io::Result<()>) {
    if let Err(error) = result {
        warn!(%error, "an input is missing in the capture file");
    }
}
