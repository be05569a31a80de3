//! Loss that is made on purpose: the ring buffer is full, the agent gets no processor, the kernel side's map is full.
//!
//! In: a capture path. Out: for each of them whether every byte that was lost is declared with the right reason, whether
//! exchanges on the same connection are whole again, and other connections never were touched.

use super::account::{self, Outcome};
use super::client::{Manner, Moved, Session};
use super::exchange::{Exchange, check};
use super::holder::Holder;
use super::place::{self, Family};
use super::server;
use anyhow::{Context, Result, bail, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::process::Guard;
use audit_tests::record::{self, PLAIN_HASHES};
use audit_tests::rights;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const PLAIN: Exchange = Exchange::plain();
/// More than the smallest ring buffer holds.
const LARGE: Exchange = Exchange {
    prompt_bytes: 3 * 1024 * 1024,
    ..PLAIN
};

/// A name, and what is done on a capture path.
type Case = (&'static str, fn(&str) -> Result<Outcome>);

/// Every case.
pub const CASES: &[Case] = &[
    ("agent_stopped", agent_stopped),
    ("agent_starved", agent_starved),
    ("connection_map_full", connection_map_full),
];

/// A server and an agent whose configuration has `capture` besides the path.
struct Scene {
    dir: tempfile::TempDir,
    agent: Agent,
    server: Guard,
    place: String,
    path: String,
}

impl Scene {
    fn new(path: &str, capture: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let place = place::free(Family::V4, dir.path(), "pressure")?;
        let agent = Agent::start(Options {
            dir: dir.path(),
            output: "json",
            config: &format!("{PLAIN_HASHES}[capture]\npath = \"{path}\"\n{capture}"),
        })?;
        Ok(Self {
            server: server::start("socket", Holder::Thread, &place)?,
            dir,
            agent,
            place,
            path: path.to_owned(),
        })
    }

    fn session(&self) -> Result<Session> {
        Session::open(&self.place, self.server.pid(), Manner::KeepAlive)
    }

    /// Both processes: the one with the rights, and the one that reads what it captures.
    fn pids(&self) -> Result<[Pid; 2]> {
        let pid = |pid: u32| -> Result<Pid> { Ok(Pid::from_raw(i32::try_from(pid)?)) };
        Ok([pid(self.agent.pid())?, pid(rights::worker(&self.agent)?)?])
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(self.pids()?.into_iter().try_for_each(|pid| kill(pid, signal))?)
    }

    /// Waits until the log has so many inference records and satisfies `enough`.
    fn wait(&mut self, what: &str, enough: impl Fn(&[Value]) -> bool) -> Result<()> {
        self.agent.wait_for(what, LIMIT, enough).map(drop)
    }

    /// Makes new connections until one is seen in whole, which is the last of those given: the agent has caught up, and has
    /// room.
    fn until_seen(&mut self, name: &str) -> Result<Vec<Moved>> {
        const TRIES: u32 = 40;
        let mut made = Vec::new();
        for number in 0..TRIES {
            let mut session = self.session()?;
            session.post(&body(PLAIN, &format!("{name} {number}")))?;
            let moved = session.close()?;
            let path = self.path.clone();
            let seen =
                |records: &[Value]| account::of(&moved, &path, records).is_ok_and(|it| it == Outcome::Seen);
            let waited = self
                .agent
                .wait_for("a new connection", Duration::from_secs(1), seen);
            made.push(moved);
            if waited.is_ok() {
                return Ok(made);
            }
        }
        bail!("no new connection was seen")
    }

    /// Everything that was signed, once every connection is accounted for.
    fn records(mut self, moved: &[Moved]) -> Result<Vec<Value>> {
        let settled = |records: &[Value]| moved.iter().all(|moved| account::is_settled(moved, records));
        let waited = self
            .agent
            .wait_for("an account of each connection", LIMIT, settled);
        let records = self.agent.stop()?;
        drop(self.dir);
        waited.map(|_| records)
    }
}

fn body(exchange: Exchange, name: &str) -> String {
    exchange.body(&format!("pressure {name}")).to_string()
}

fn inferences(records: &[Value]) -> usize {
    record::of_type(records, "inference").len()
}

/// Events or bytes that gap records of the kernel side declare for `reason`.
fn lost(records: &[Value], member: &str, reason: &str) -> u64 {
    let gaps = record::of_type(records, "gap");
    let here = gaps.iter().filter(|gap| gap["where"] == "ring_buffer");
    here.filter_map(|gap| gap[member][reason].as_u64()).sum()
}

/// The record of the last exchange of a connection is whole and right.
fn last_is_whole(moved: &Moved, path: &str, records: &[Value]) -> Result<()> {
    let bodies = moved.bodies.last().context("an exchange")?;
    let hash = record::sha256(&bodies[0]);
    let found = record::of_type(records, "inference");
    let mut found = found
        .iter()
        .filter(|found| found["request_body_hash"] == hash.as_str());
    check(
        found.next().with_context(|| {
            format!(
                "no record of the last exchange: {}",
                account::shown(moved, records)
            )
        })?,
        path,
        bodies,
    )
}

/// What `of` lost is declared by exchange and by reason, and `others` lost nothing.
fn accounted(of: &Moved, others: &[&Moved], path: &str, records: &[Value]) -> Result<Outcome> {
    for other in others {
        let outcome = account::of(other, path, records)?;
        ensure!(
            outcome == Outcome::Seen,
            "another connection lost bytes: {outcome:?}"
        );
    }
    last_is_whole(of, path, records)?;
    account::of(of, path, records)
}

/// The agent is stopped while more flows than the ring buffer holds.
fn agent_stopped(path: &str) -> Result<Outcome> {
    let mut scene = Scene::new(path, "ring_buffer_mib = 1\n")?;
    let (mut hit, mut other) = (scene.session()?, scene.session()?);
    hit.post(&body(PLAIN, "before"))?;
    other.post(&body(PLAIN, "other before"))?;
    scene.wait("both first records", |records| inferences(records) == 2)?;
    scene.signal(Signal::SIGSTOP)?;
    let flowed = hit.post(&body(LARGE, "meanwhile"));
    scene.signal(Signal::SIGCONT)?;
    flowed?;
    scene.wait("the loss", |records| lost(records, "lost", "ring_full") > 0)?;
    // The loss is told before everything that was in the ring buffer is read, and until then there may be more.
    let tries = scene.until_seen("stopped later")?;
    // Where the answer was lost too, the next one is found by search and is not called complete.
    hit.post(&body(PLAIN, "next"))?;
    hit.post(&body(PLAIN, "after"))?;
    other.post(&body(PLAIN, "other after"))?;
    let (hit, other) = (hit.close()?, other.close()?);
    let path = scene.path.clone();
    let records = scene.records(&[hit.clone(), other.clone()])?;
    let outcome = accounted(&hit, &[&other], &path, &records)?;
    let (by_reason, Outcome::Declared(_)) = (lost(&records, "lost_bytes", "ring_full"), &outcome) else {
        bail!("nothing was lost");
    };
    of_these(by_reason, account::declared(&hit, &records), &tries)?;
    Ok(Outcome::Seen)
}

/// The bytes that were lost by reason are those that are declared of the connection that was hit, and at most all of the connections
/// that were tried while there was no room: if the opening and the end of one were lost too, it is known by its reason alone.
fn of_these(by_reason: u64, of_hit: u64, tries: &[Moved]) -> Result<()> {
    let of_all = of_hit + tries.iter().map(Moved::bytes).sum::<u64>();
    ensure!(
        (of_hit..=of_all).contains(&by_reason),
        "{by_reason} bytes are lost by reason, {of_hit} on the connection and at most {of_all} on all"
    );
    Ok(())
}

/// The agent shares its only processor with threads that always run, and yields to them.
fn agent_starved(path: &str) -> Result<Outcome> {
    let mut scene = Scene::new(path, "ring_buffer_mib = 1\nnice = 19\n")?;
    let mut first = CpuSet::new();
    first.set(0)?;
    for pid in scene.pids()? {
        sched_setaffinity(pid, &first)?;
    }
    let busy = Arc::new(AtomicBool::new(true));
    let (mut hit, mut other) = (scene.session()?, scene.session()?);
    hit.post(&body(PLAIN, "before"))?;
    other.post(&body(PLAIN, "other before"))?;
    scene.wait("both first records", |records| inferences(records) == 2)?;
    let threads: Vec<_> = (0..2).map(|_| spin(first, &busy)).collect();
    let mut flow = || -> Result<()> {
        for number in 0..3 {
            hit.post(&body(LARGE, &format!("starved {number}")))?;
        }
        Ok(())
    };
    let flowed = flow();
    busy.store(false, Ordering::Relaxed);
    for thread in threads {
        thread.join().ok().context("a busy thread panicked")?;
    }
    flowed?;
    let tries = scene.until_seen("starved later")?;
    other.post(&body(PLAIN, "other after"))?;
    hit.post(&body(PLAIN, "after"))?;
    let (hit, other) = (hit.close()?, other.close()?);
    let path = scene.path.clone();
    let records = scene.records(&[hit.clone(), other.clone()])?;
    // Of the connection only the account is checked: a loss may be longer than an exchange, and the parser does not always
    // find its way back behind one.
    let outcome = account::of(&other, &path, &records)?;
    ensure!(
        outcome == Outcome::Seen,
        "another connection lost bytes: {outcome:?}"
    );
    let by_reason = lost(&records, "lost_bytes", "ring_full");
    of_these(by_reason, account::declared(&hit, &records), &tries)?;
    Ok(Outcome::Seen)
}

/// A thread on these processors that does nothing as fast as it can.
fn spin(cpus: CpuSet, busy: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let busy = Arc::clone(busy);
    std::thread::spawn(move || {
        // Without the affinity it would starve less, and the case would show less: not a failure.
        let _ = sched_setaffinity(Pid::from_raw(0), &cpus);
        while busy.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    })
}

/// More connections at once than the kernel side has room for.
fn connection_map_full(path: &str) -> Result<Outcome> {
    const ROOM: usize = 4;
    let mut scene = Scene::new(path, &format!("max_connections = {ROOM}\n"))?;
    let mut sessions = Vec::new();
    for number in 0..ROOM + 2 {
        let mut session = scene.session()?;
        session.post(&body(PLAIN, &format!("map {number}")))?;
        sessions.push(session);
    }
    scene.wait("a record of those with room", |records| {
        inferences(records) == ROOM
    })?;
    let moved = sessions.into_iter().map(Session::close);
    let moved = moved.collect::<Result<Vec<Moved>>>()?;
    let (with_room, without) = moved.split_at(ROOM);
    let unseen: u64 = without.iter().map(Moved::bytes).sum();
    scene.wait("the loss", |records| {
        lost(records, "lost_bytes", "conn_map_full") >= unseen
    })?;
    // The agent frees the places of those that are closed.
    let later = scene.until_seen("map later")?;
    let path = scene.path.clone();
    let mut settled = with_room.to_vec();
    settled.extend(later.into_iter().last());
    let records = scene.records(&settled)?;
    for moved in &settled {
        let outcome = account::of(moved, &path, &records)?;
        ensure!(
            outcome == Outcome::Seen,
            "a connection with room lost bytes: {outcome:?}"
        );
    }
    ensure!(
        lost(&records, "lost", "conn_map_full") > 0,
        "the loss has no count of events"
    );
    Ok(Outcome::Seen)
}
