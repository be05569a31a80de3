//! The process with the rights: it holds the kernel programs and looks things up for the worker, which parses.
//!
//! In: questions of a fixed layout, signals. Out: facts about this host, verdicts in the kernel's maps, probes in TLS libraries.
//! Never: a byte that a server or a client sent; the log's key; a right that answering does not take.

pub mod channel;
pub mod client;
pub mod question;

use crate::capture::live::Kernel;
use crate::event::{HostFact, ModelFile, TlsLibrary};
use crate::host::digest::Digests;
use crate::host::tls::Scanner;
use crate::host::{clock, models, process, sockets, system};
use crate::limits;
use anyhow::{Context, bail};
use audit_common::abi::ConnKey;
use audit_common::config::Verdict;
use channel::{Channel, MESSAGE_MAX};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use question::{LEN, Question};
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::Path;
use tracing::{info, warn};

/// How often the weights of known servers are looked up again: a server may load another model.
const MODELS_NS: u64 = 30_000_000_000;

/// What the monitor holds while the worker works.
#[derive(Debug)]
struct Monitor {
    kernel: Kernel,
    digests: Digests,
    libraries: Scanner,
    servers: BTreeMap<u32, Vec<ModelFile>>,
    models_ns: u64,
}

/// Loads the programs with `load` when the worker asks for them, and answers until the worker ends.
///
/// # Errors
/// What `load` says; a worker that asks what is no question.
pub fn serve(
    channel: &Channel,
    signals: &SignalFd,
    load: impl FnOnce() -> anyhow::Result<Kernel>,
) -> anyhow::Result<()> {
    let mut buffer = [0; MESSAGE_MAX];
    let mut load = Some(load);
    let mut monitor: Option<Monitor> = None;
    loop {
        if !wait(channel, signals)? {
            continue;
        }
        let bytes = channel
            .receive(&mut buffer)
            .context("the worker cannot be heard")?;
        if bytes.is_empty() {
            return Ok(());
        }
        for question in questions(bytes)? {
            match (&mut monitor, question) {
                (Some(monitor), question) => monitor.answer(question, channel)?,
                (None, Question::Start) => {
                    let load = load.take().context("the programs are loaded once")?;
                    monitor = Some(Monitor::start(load()?, channel)?);
                }
                (None, _) => bail!("the worker asked before the programs were loaded"),
            }
        }
    }
}

/// True when the worker has said something; a signal is handed on.
fn wait(channel: &Channel, signals: &SignalFd) -> anyhow::Result<bool> {
    let mut both = [channel.as_fd(), signals.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut both, PollTimeout::NONE) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let [asked, _] = both.map(|fd| fd.any().unwrap_or(false));
    if let Ok(Some(signal)) = signals.read_signal() {
        // A worker that has just ended is noticed at the next turn.
        let _ = channel.send_stop(u8::try_from(signal.ssi_signo).unwrap_or(0));
    }
    Ok(asked)
}

fn questions(bytes: &[u8]) -> anyhow::Result<Vec<Question>> {
    let (questions, rest) = bytes.as_chunks::<LEN>();
    let decoded: Option<Vec<Question>> = questions.iter().map(Question::decode).collect();
    decoded
        .filter(|_| rest.is_empty())
        .context("the worker asked what is no question")
}

impl Monitor {
    fn start(kernel: Kernel, channel: &Channel) -> anyhow::Result<Self> {
        channel.send_ring(kernel.events())?;
        // The worker knows which configuration it has.
        channel.send_fact(&HostFact::Start(system::start(kernel.path().name(), None)))?;
        channel.send_end()?;
        Ok(Self {
            kernel,
            digests: Digests::start(),
            libraries: Scanner::default(),
            servers: BTreeMap::new(),
            models_ns: 0,
        })
    }

    fn answer(&mut self, question: Question, channel: &Channel) -> anyhow::Result<()> {
        for fact in self.facts(question) {
            if let Err(error) = channel.send_fact(&fact) {
                warn!(%error, ?question, "a fact does not reach the records");
            }
        }
        if question.is_answered() {
            channel.send_end().context("the worker takes no answer")?;
        }
        Ok(())
    }

    fn facts(&mut self, question: Question) -> Vec<HostFact> {
        let told = match question {
            Question::Verdict { conn, verdict } => self.kernel.set_verdict(conn, verdict),
            Question::Listener { port, verdict } => self.kernel.set_listener(port, verdict),
            Question::Upstream { pid, follow } => self.kernel.follow_upstream(pid, follow),
            Question::TlsVerdict { id, verdict } => self.kernel.set_tls_verdict(id, verdict),
            Question::Forget(conn) => {
                self.kernel.forget(conn);
                Ok(())
            }
            Question::ForgetTls { id } => {
                self.kernel.forget_tls(id);
                Ok(())
            }
            asked => return self.look_up(asked),
        };
        if let Err(error) = told {
            warn!(%error, "the kernel side could not be told a verdict");
        }
        Vec::new()
    }

    fn look_up(&mut self, question: Question) -> Vec<HostFact> {
        match question {
            Question::Seed => self.seed(),
            Question::Refresh => self.refresh(),
            Question::Losses => self.losses().into_iter().collect(),
            Question::Process { pid } => vec![self.process(pid)],
            Question::Models { pid } => self.models(pid).into_iter().collect(),
            Question::Peer { conn, local, remote } => {
                let peer = sockets::holder_of(remote, local).map(|pid| peer(conn, pid));
                peer.into_iter().collect()
            }
            Question::Sync(conn) => {
                let ConnKey { sock, generation } = conn;
                let counted = self.kernel.counted(conn);
                let fact = counted.map(|(rx_bytes, tx_bytes)| HostFact::ConnSync {
                    sock,
                    generation,
                    rx_bytes,
                    tx_bytes,
                });
                fact.into_iter().collect()
            }
            Question::TlsSync { id } => {
                let counted = self.kernel.tls_counted(id);
                let fact = counted.map(|(rx_bytes, tx_bytes)| HostFact::TlsSync {
                    pid: id.pid,
                    object: id.session.sock,
                    generation: id.session.generation,
                    rx_bytes,
                    tx_bytes,
                });
                fact.into_iter().collect()
            }
            Question::Tls { pid } => self.see_into_tls(pid).into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// Tells the kernel side what was there before it.
    fn seed(&mut self) -> Vec<HostFact> {
        let found = sockets::listeners();
        info!(
            ports = found.ports.len(),
            processes = found.pids.len(),
            "listeners found"
        );
        for port in found.ports {
            if let Err(error) = self.kernel.set_listener(port, Verdict::Undecided) {
                warn!(%error, port, "a listener is not watched");
            }
        }
        let mut facts = Vec::new();
        for pid in found.pids {
            if let Err(error) = self.kernel.watch_process(pid) {
                warn!(%error, pid, "a process is not watched");
            }
            facts.push(self.process(pid));
            // Digests of large weights take minutes: begin before the first call.
            facts.extend(self.models(pid));
        }
        facts
    }

    fn process(&mut self, pid: u32) -> HostFact {
        HostFact::Process(Box::new(process::look_up(pid, &mut self.digests)))
    }

    /// The weights of a process, when they are others than were told.
    fn models(&mut self, pid: u32) -> Option<HostFact> {
        let files = models::of_process(pid, &mut self.digests);
        let known = self.servers.get(&pid).map_or(&[][..], Vec::as_slice);
        if known == files.as_slice() || self.servers.len() >= limits::PROCESSES {
            return None;
        }
        self.servers.insert(pid, files.clone());
        Some(HostFact::Models {
            pid,
            start_ns: 0,
            files,
        })
    }

    fn refresh(&mut self) -> Vec<HostFact> {
        let mut facts = vec![HostFact::System(system::state())];
        let now = clock::boot_ns();
        if self.digests.collect() || now.saturating_sub(self.models_ns) >= MODELS_NS {
            self.models_ns = now;
            self.servers.retain(|pid, _| lives(*pid));
            self.kernel.forget_processes(lives);
            let pids: Vec<u32> = self.servers.keys().copied().collect();
            facts.extend(pids.into_iter().filter_map(|pid| self.models(pid)));
        }
        facts.extend(self.losses());
        facts
    }

    fn losses(&self) -> Option<HostFact> {
        match self.kernel.losses() {
            Ok(counters) => Some(HostFact::Loss {
                boot_ns: clock::boot_ns(),
                events: counters.events.to_vec(),
                bytes: counters.bytes.to_vec(),
            }),
            Err(error) => {
                warn!(%error, "the kernel's loss counters cannot be read");
                None
            }
        }
    }

    /// Probes the TLS libraries of a process.
    fn see_into_tls(&mut self, pid: u32) -> Option<HostFact> {
        let mut libraries: Vec<TlsLibrary> = Vec::new();
        for library in self.libraries.libraries(pid) {
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
        (!libraries.is_empty()).then_some(HostFact::TlsLibraries { pid, libraries })
    }
}

fn lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn peer(conn: ConnKey, pid: u32) -> HostFact {
    HostFact::Peer {
        sock: conn.sock,
        generation: conn.generation,
        pid,
        start_ns: 0,
    }
}
