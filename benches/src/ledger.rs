//! What the log costs: from an event to a line that survives a power cut, and back through a check of everything.
//!
//! In: exchanges of 1 KiB, as the other tables have, and the capture of a real llama.cpp server that the tests replay. Out: Markdown with records a second, times until a record
//! is durable and under a checkpoint, and sizes of proofs. Never: a disk that is none; the log is in the temporary directory.

use crate::traffic::{self, Traffic};
use crate::usage::cpu;
use anyhow::{Context, Result, ensure};
use audit_agent::capture::file::Reader;
use audit_agent::ledger::audit::{Asked, Verdict, audit};
use audit_agent::ledger::disk::DirDisk;
use audit_agent::ledger::keys::{Keys, LogKey, Verifier};
use audit_agent::ledger::policy::Policy;
use audit_agent::ledger::proof_file::ProofFile;
use audit_agent::ledger::source::{Files, Source};
use audit_agent::ledger::store::CHECKPOINT;
use audit_agent::ledger::{CHECKPOINT_NS, Ledger};
use audit_agent::pipeline::{Options, Output, Pipeline};
use audit_agent::record::Body;
use audit_agent::record::hash::{Algorithm, Hasher};
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const CAPTURE: &[u8] = include_bytes!("../../tests/data/captures/llama-server.acap");
/// The agent commits so often (`run`).
const COMMIT: Duration = Duration::from_millis(100);
/// Records that wait for a commit when nothing but the log is busy.
const BATCH: u64 = 1_000;
/// Exchanges from one tick of the pipeline to the next.
const TICK: u64 = 100;
/// Records a second while latencies are measured.
const RATE: u64 = 1_000;

/// Records and seconds of each part.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub records: u64,
    pub seconds: u64,
}

/// Every figure, as a table.
pub fn table(effort: Effort) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let mut text = String::from("| the log | figure |\n|---|--:|\n");
    let mut row = |what: &str, figure: String| writeln!(text, "| {what} | {figure} |");
    for work in [Work::Plain, Work::LlamaServer] {
        of_work(work, &dir.path().join(work.name()), effort, &mut row)?;
    }
    let (durable, signed) = latencies(&dir.path().join("paced"), effort.seconds)?;
    let quantiles = |times: &Histogram<u64>| {
        let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
        format!("{:.0} ms, {:.0} ms", at(0.5), at(0.99))
    };
    row(
        &format!("p50, p99 until durable, at {RATE} records/s"),
        quantiles(&durable),
    )?;
    row(
        &format!("p50, p99 until under a checkpoint, at {RATE} records/s"),
        quantiles(&signed),
    )?;
    Ok(text)
}

/// The figures that depend on what was asked and answered.
fn of_work(
    work: Work,
    dir: &Path,
    effort: Effort,
    row: &mut impl FnMut(&str, String) -> std::fmt::Result,
) -> Result<()> {
    let name = work.name();
    let (made, took) = fill(dir, work, effort.records)?;
    row(
        &format!("{name}: from event to durable line, a second of one core"),
        format!("{:.0} records/s", per_second(made, took)),
    )?;
    let (checked, took) = check(dir)?;
    row(
        &format!("{name}: `verify`, every signature, hash and tile, a second of one core"),
        format!("{:.0} records/s", per_second(checked, took)),
    )?;
    let (line, proof) = proof(dir)?;
    let (signatures, took) = signatures(line, effort.records / 10)?;
    row(
        &format!("{name}: baseline, signatures over lines of that length and nothing else"),
        format!("{:.0} checks/s", per_second(signatures, took)),
    )?;
    row(
        &format!("{name}: proof of one record of {checked}, and its line"),
        format!("{proof} and {line} bytes"),
    )?;
    Ok(())
}

/// What the records are of.
#[derive(Clone, Copy, Debug)]
enum Work {
    Plain,
    LlamaServer,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "1 KiB in and out",
            Self::LlamaServer => "llama-server's tests",
        }
    }

    /// At least `records` of them, one by one.
    fn records(self, records: u64, mut each: impl FnMut(&Body) -> Result<()>) -> Result<()> {
        match self {
            Self::Plain => {
                let (plain, mut traffic) = (traffic::plain(), Traffic::new(String::new()));
                for number in 0..records {
                    traffic.exchange(&plain);
                    if number % TICK == 0 {
                        traffic.tick();
                    }
                    for (body, _) in traffic.records() {
                        each(&body)?;
                    }
                }
                Ok(())
            }
            Self::LlamaServer => {
                let mut made = 0;
                while made < records {
                    replay(|body| {
                        made += 1;
                        each(&body)
                    })?;
                }
                Ok(())
            }
        }
    }
}

fn per_second(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64
}

fn ledger(dir: &Path) -> Result<Ledger> {
    let keys = Keys::load_or_create(&dir.join("keys"), "bench.example")?;
    Ok(Ledger::open(&dir.join("log"), keys, now_ns())?.0)
}

/// What the capture's events become; `each` gets every record.
fn replay(mut each: impl FnMut(Body) -> Result<()>) -> Result<()> {
    let mut pipeline = Pipeline::new(Options {
        content: Default::default(),
        filter: Default::default(),
        hasher: Hasher::new([9; 32].into(), Algorithm::Sha256),
        heartbeat_ns: 60_000_000_000,
        verifier_key: String::new(),
    });
    let mut reader = Reader::new(Cursor::new(CAPTURE))?;
    let mut outputs = Vec::new();
    while let Some(input) = reader.next_input()? {
        pipeline.feed(input, &mut outputs);
        for output in outputs.drain(..) {
            if let Output::Record { body, .. } = output {
                each(*body)?;
            }
        }
    }
    Ok(())
}

/// A log of at least so many records; how many, and the processor time until the last one was durable.
fn fill(dir: &Path, work: Work, records: u64) -> Result<(u64, Duration)> {
    let mut ledger = ledger(dir)?;
    let (mut made, started) = (0, cpu(std::process::id())?);
    work.records(records, |body| {
        made += ledger.submit(body, now_ns()).len() as u64;
        if made % BATCH == 0 {
            ledger.commit(now_ns())?;
        }
        Ok(())
    })?;
    ledger.close(now_ns())?;
    Ok((made, cpu(std::process::id())? - started))
}

fn verifier(dir: &Path) -> Result<Verifier> {
    let text = std::fs::read_to_string(dir.join("keys/log.pub"))?;
    Verifier::parse(&text).context("log.pub")
}

fn check(dir: &Path) -> Result<(u64, Duration)> {
    let asked = Asked {
        key: verifier(dir)?,
        policy: Policy::default(),
        kept: Vec::new(),
        first_line: None,
        newest_since: None,
    };
    let started = cpu(std::process::id())?;
    let finding = audit(&mut files(dir), &asked, &mut |_, _| {});
    let took = cpu(std::process::id())? - started;
    ensure!(
        matches!(finding.verdict, Verdict::Intact | Verdict::IntactWithGaps),
        "the log does not verify: {}",
        finding.reason
    );
    Ok((finding.log.records, took))
}

/// Ed25519 checks of messages of `len` bytes, which nothing that checks a log can do without.
fn signatures(len: usize, count: u64) -> Result<(u64, Duration)> {
    let key = LogKey::new("bench.example", &[7; 32]);
    let (verifier, message) = (key.verifier(), vec![b'x'; len]);
    let signature = key.sign(&message);
    let started = cpu(std::process::id())?;
    for _ in 0..count {
        ensure!(verifier.verify(&message, &signature), "a signature is wrong");
    }
    Ok((count, cpu(std::process::id())? - started))
}

fn files(dir: &Path) -> Files<DirDisk> {
    Files::new(DirDisk::new(&dir.join("log")))
}

/// Bytes of a line within the log, and of its proof.
fn proof(dir: &Path) -> Result<(usize, usize)> {
    let mut files = files(dir);
    let note = files.fetch(CHECKPOINT)?.context("no checkpoint")?;
    let note = String::from_utf8(note)?;
    let size: u64 = note.lines().nth(1).context("a size")?.parse()?;
    // Not one that hands over to the next epoch's key, as every 100,000th is.
    let seq = size / 3;
    let line = files.line(seq)?.context("a line")?;
    let proof = ProofFile::make(&mut files, seq, size, &note)?;
    ensure!(proof.holds(&line, &verifier(dir)?)?, "the proof does not hold");
    Ok((line.len(), proof.to_string().len()))
}

/// Microseconds from a record's submission until it is durable, and until a checkpoint covers it.
fn latencies(dir: &Path, seconds: u64) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let mut ledger = ledger(dir)?;
    let mut bodies = Vec::new();
    replay(|body| {
        bodies.push(body);
        Ok(())
    })?;
    let (mut durable, mut signed) = (Histogram::new(3)?, Histogram::new(3)?);
    let (mut undurable, mut unsigned): (Vec<Instant>, Vec<Instant>) = (Vec::new(), Vec::new());
    let (started, mut committed) = (Instant::now(), Instant::now());
    let mut published = now_ns();
    for (number, body) in (0..RATE * seconds).zip(bodies.iter().cycle()) {
        let due = started + Duration::from_nanos(number * 1_000_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        ledger.submit(body, now_ns());
        undurable.push(Instant::now());
        if committed.elapsed() < COMMIT {
            continue;
        }
        let publishes = now_ns().saturating_sub(published) >= CHECKPOINT_NS;
        ledger.commit(now_ns())?;
        committed = Instant::now();
        for submitted in undurable.drain(..) {
            durable.record(micros(submitted.elapsed()))?;
            unsigned.push(submitted);
        }
        if publishes {
            published = now_ns();
            for submitted in unsigned.drain(..) {
                signed.record(micros(submitted.elapsed()))?;
            }
        }
    }
    Ok((durable, signed))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}
