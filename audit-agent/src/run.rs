//! The worker: the kernel's events through the pure core into the log.
//!
//! In: the mapped ring buffer, an open ledger, a monitor that answers. Out: records on the log and the sinks. One thread
//! without rights: it waits for the kernel, for the monitor, for a signal, or for its timer. Never: a look of its own at
//! another process.

pub mod witnesses;

use crate::capture::file::Writer;
use crate::capture::live::ring::Events;
use crate::content::store::Store;
use crate::event::{HostFact, Input, StartFact};
use crate::host::clock;
use crate::ledger::Ledger;
use crate::monitor::client::{Client, End};
use crate::monitor::question::Question;
use crate::pipeline::{Output, Pipeline};
use crate::sink::Sink;
use anyhow::bail;
use audit_common::decode::Event;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::BufWriter;
use std::os::fd::AsFd;
use tracing::{error, info, warn};
use witnesses::Witnesses;

/// Longest wait while nothing wakes us: bounds how late the events of a quiet host are seen.
const FLUSH_MS: u16 = 50;
/// Events that are handled before signals and timers get a turn.
const BATCH: usize = 4096;
const TICK_NS: u64 = 100_000_000;
const SLOW_TICK_NS: u64 = 1_000_000_000;

/// Everything that a run holds.
pub struct Run {
    pub events: Events,
    pub monitor: Client,
    pub pipeline: Pipeline,
    /// None while only a capture is recorded.
    pub ledger: Option<Ledger>,
    /// Between the pipeline and the ledger.
    pub content: Store,
    pub sink: Sink,
    pub recorder: Option<Writer<BufWriter<File>>>,
    /// None while nobody is asked to cosign the log.
    pub witnesses: Option<Witnesses>,
    pub signals: SignalFd,
    edge: Edge,
}

/// What the edge remembers.
#[derive(Debug, Default)]
struct Edge {
    /// Processes whose TLS libraries are to be looked for.
    tls_due: BTreeSet<u32>,
    /// The kernel's counters of connections, for when the ring buffer has been emptied.
    counted: Vec<HostFact>,
    tick_ns: u64,
    slow_tick_ns: u64,
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
    pub fn new(events: Events, monitor: Client, pipeline: Pipeline, sink: Sink, signals: SignalFd) -> Self {
        Self {
            events,
            monitor,
            pipeline,
            ledger: None,
            content: Store::default(),
            sink,
            recorder: None,
            witnesses: None,
            signals,
            edge: Edge::default(),
        }
    }

    /// Runs until a signal; the last record of the log says which.
    ///
    /// # Errors
    /// The monitor has ended first. What was signed is durable; the log has no end then, which the next start declares.
    pub fn run(&mut self, start: StartFact) -> anyhow::Result<()> {
        let path = start.capture_path.clone();
        self.fact(HostFact::Start(start));
        self.seed();
        info!(path, "audit-agent ready");
        let reason = loop {
            self.wait()?;
            if self.drain() < BATCH {
                self.catch_up();
            }
            self.see_into_tls();
            self.timers();
            self.sink.flush();
            self.monitor.flush();
            if let Some(reason) = self.end() {
                break reason;
            }
        };
        while self.drain() == BATCH {}
        self.catch_up();
        self.malformed();
        self.ask(Question::Losses);
        let Some(reason) = reason.filter(|_| self.monitor.end() != Some(End::Gone)) else {
            self.sink.flush();
            self.make_durable()?;
            bail!("the process that holds the kernel programs has ended; start the agent again");
        };
        self.fact(HostFact::Stop {
            boot_ns: clock::boot_ns(),
            reason,
        });
        self.content.flush(clock::unix_ns());
        self.submit();
        self.sink.flush();
        if let Some(recorder) = &mut self.recorder {
            recorder.flush()?;
        }
        self.make_durable()
    }

    /// Why the run is over: Some(None) when nobody ended it in order.
    fn end(&mut self) -> Option<Option<String>> {
        if let Ok(Some(signal)) = self.signals.read_signal() {
            return Some(Some(format!("signal {}", signal.ssi_signo)));
        }
        self.monitor.end().map(|end| match end {
            End::Signal(number) => Some(format!("signal {number}")),
            End::Gone => None,
        })
    }

    fn make_durable(&mut self) -> anyhow::Result<()> {
        match &mut self.ledger {
            Some(ledger) => ledger.close(clock::unix_ns()).map_err(Into::into),
            None => Ok(()),
        }
    }

    /// Has the kernel side told what was there before it.
    fn seed(&mut self) {
        for fact in self.monitor.ask(Question::Seed) {
            if let HostFact::Process(process) = &fact {
                self.edge.tls_due.insert(process.pid);
            }
            self.fact(fact);
        }
        self.see_into_tls();
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let witnesses = self.witnesses.as_ref().map(Witnesses::readiness);
        let readiness = [
            self.events.readiness(),
            self.signals.as_fd(),
            self.monitor.readiness(),
            // Where there is nobody to hear, what is waited for anyway.
            witnesses.unwrap_or_else(|| self.signals.as_fd()),
        ];
        let mut ready = readiness.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut ready, PollTimeout::from(FLUSH_MS)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, _, said, cosigned] = ready.map(|fd| fd.any().unwrap_or(false));
        if said {
            self.monitor.hear();
        }
        if cosigned && self.witnesses.as_mut().is_some_and(|witnesses| !witnesses.hear()) {
            self.witnesses = None;
        }
        Ok(())
    }

    /// Events one by one: what one asks for is looked up before the next, while its process still lives.
    fn drain(&mut self) -> usize {
        for count in 0..BATCH {
            let Self {
                events,
                pipeline,
                recorder,
                edge,
                ..
            } = self;
            let drained = events.drain(1, |bytes| match Event::parse(bytes) {
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

    /// Bytes that the kernel had counted may still have been in the ring buffer: now that it is empty, what has not come is
    /// missing.
    fn catch_up(&mut self) {
        for fact in std::mem::take(&mut self.edge.counted) {
            self.fact(fact);
        }
    }

    fn ask(&mut self, question: Question) {
        let facts = self.monitor.ask(question);
        self.edge.facts.extend(facts);
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
        match Question::of(output) {
            Ok(question @ (Question::Sync(_) | Question::TlsSync { .. })) => {
                self.edge.counted.extend(self.monitor.ask(question));
            }
            Ok(question) => self.edge.facts.extend(self.monitor.ask(question)),
            Err(Output::Record { body, unix_ns }) => {
                self.content.record(body, unix_ns);
                self.submit();
            }
            Err(Output::Content(draft)) => self.content.content(draft),
            Err(Output::NeedTls { pid, at_once: true }) => {
                self.edge.tls_due.remove(&pid);
                let facts = self.monitor.ask(Question::Tls { pid });
                self.edge.facts.extend(facts);
            }
            Err(Output::NeedTls { pid, at_once: false }) => {
                self.edge.tls_due.insert(pid);
            }
            Err(_) => {}
        }
    }

    /// Has the TLS libraries of the processes probed that asked for it, each of them once however often they asked.
    fn see_into_tls(&mut self) {
        for pid in std::mem::take(&mut self.edge.tls_due) {
            self.ask(Question::Tls { pid });
        }
    }

    fn timers(&mut self) {
        let now = clock::boot_ns();
        if now.saturating_sub(self.edge.tick_ns) < TICK_NS {
            return;
        }
        self.edge.tick_ns = now;
        if now.saturating_sub(self.edge.slow_tick_ns) >= SLOW_TICK_NS {
            self.edge.slow_tick_ns = now;
            self.fact(HostFact::Clock {
                boot_ns: clock::boot_ns(),
                unix_ns: clock::unix_ns(),
            });
            self.malformed();
            self.ask(Question::Refresh);
        }
        self.fact(HostFact::Tick { boot_ns: now });
        self.commit();
    }

    fn malformed(&mut self) {
        let entries = std::mem::take(&mut self.edge.malformed);
        if entries > 0 {
            self.fact(HostFact::Malformed {
                boot_ns: clock::boot_ns(),
                entries,
            });
        }
    }

    /// Signs the records whose content is durable.
    fn submit(&mut self) {
        let ready = self.content.ready();
        let Some(ledger) = &mut self.ledger else { return };
        for (body, unix_ns) in ready {
            let lines = ledger.submit(&body, unix_ns);
            if lines.is_empty() {
                self.content.refused();
            }
            lines.iter().for_each(|line| self.sink.line(&line.bytes));
        }
    }

    fn commit(&mut self) {
        self.content.flush(clock::unix_ns());
        self.submit();
        let Some(ledger) = &mut self.ledger else { return };
        match ledger.commit(clock::unix_ns()) {
            Ok(lines) => {
                self.content.committed();
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
