//! The log: records in an order that nobody can change afterwards without its showing.
//!
//! In: record bodies with the time they are about. Out: signed lines, durable, and signed checkpoints over them. Never: a
//! sequence number twice, a line that is not signed, a loss without a signed word, a checkpoint that contradicts an
//! earlier one. `docs/ledger.md` specifies it.

pub mod access;
pub mod audit;
pub mod begun;
pub mod cadence;
mod canonical;
pub mod chain;
pub mod disk;
pub mod epoch;
pub mod http;
pub mod keys;
pub mod line;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof_file;
pub mod recover;
pub mod retention;
mod shrink;
pub mod source;
pub mod store;
mod unsigned;
pub mod verify;
pub mod witness;

use crate::limits;
use crate::record::{Body, Gap, Recovery, rfc3339};
use chain::{Chain, Line};
use disk::{DirDisk, Disk};
use epoch::Epochs;
use keys::{Keys, LogKey};
use line::{Claim, LineError, Signer, check_line};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use recover::{End, RecoverError, recover};
use retention::Keep;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use store::Store;
use thiserror::Error;

/// Longest time between two checkpoints of a log that grows.
pub const CHECKPOINT_NS: u64 = 5_000_000_000;

/// Between two looks for records that are old enough to go, where the log hardly grows.
pub const RETIRE_NS: u64 = 3_600_000_000_000;

#[derive(Debug, Error)]
pub enum LogError {
    #[error(
        "cannot use the log {path}: {source}; nothing is lost yet: lines are kept in memory and tried again"
    )]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "cannot open the log {path}: {source}; give another place with --dir, or make it writable for the agent"
    )]
    Open { path: PathBuf, source: io::Error },
    #[error("another agent is using the log in {0}; stop it, or give another place with --dir")]
    Locked(PathBuf),
    #[error(
        "the last line of {path} was not signed with this key ({reason}); move the log away, or restore keys/ from its copy"
    )]
    Foreign { path: PathBuf, reason: LineError },
    #[error(
        "the log {path} is not what this agent signed: {reason}; keep it as evidence: move the directory away, and the agent begins a new log, whose first records say that this one was before it"
    )]
    Damaged { path: PathBuf, reason: RecoverError },
}

/// Whether another agent has the log in `dir` open.
pub fn is_locked(dir: &Path) -> bool {
    File::open(dir.join(".lock")).is_ok_and(|file| {
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err_and(|(_, error)| error == Errno::EWOULDBLOCK)
    })
}

/// The chain together with the files that hold it.
#[derive(Debug)]
pub struct Ledger<D = DirDisk> {
    path: PathBuf,
    chain: Chain,
    store: Store<D>,
    keys: D,
    /// The epoch whose secret is in the key directory.
    stored_epoch: u64,
    /// Hash of line 0, until the key directory has it.
    begun: Option<String>,
    /// Lines that the last checkpoint covers, and when it was made.
    signed: u64,
    signed_ns: Option<u64>,
    keep: Option<Keep>,
    /// When, and in which segment, nothing more was found that has to go.
    retired: Option<(u64, u64)>,
    /// Records that were refused since the file stopped taking lines.
    refused: u64,
    refused_since_ns: Option<u64>,
    _lock: Option<Flock<File>>,
}

impl Ledger {
    /// Opens or creates the log in `dir`. What its end lacks is said in the first lines of this run.
    pub fn open(dir: &Path, keys: Keys, now_unix_ns: u64) -> Result<(Self, Vec<Line>), LogError> {
        let at = |source| LogError::Open {
            path: dir.into(),
            source,
        };
        let mut disk = DirDisk::new(dir);
        disk.make_dir("").map_err(at)?;
        let lock = File::create(disk.path(".lock")).map_err(at)?;
        let lock =
            Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|_| LogError::Locked(dir.into()))?;
        let (mut ledger, lines) = Self::on(dir, disk, keys.disk, keys.log, keys.epochs, now_unix_ns)?;
        ledger._lock = Some(lock);
        Ok((ledger, lines))
    }
}

impl<D: Disk> Ledger<D> {
    /// Opens or creates the log on `disk`, with the epochs' secrets on `keys`; `path` is for messages.
    pub fn on(
        path: &Path,
        mut disk: D,
        keys: D,
        log: LogKey,
        mut epochs: Epochs,
        now_unix_ns: u64,
    ) -> Result<(Self, Vec<Line>), LogError> {
        let stored_epoch = epochs.number();
        let end = recover(&mut disk, &log.verifier()).map_err(|reason| match reason {
            RecoverError::Io(source) => LogError::Open {
                path: path.into(),
                source,
            },
            reason => LogError::Damaged {
                path: path.into(),
                reason,
            },
        })?;
        let last = end
            .last
            .as_deref()
            .map(|line| catch_up(line, log.name(), &mut epochs));
        let last = last.transpose().map_err(|reason| LogError::Foreign {
            path: path.into(),
            reason,
        })?;
        let open = |source| LogError::Open {
            path: path.into(),
            source,
        };
        let before = begun::read(&keys).map_err(open)?;
        let (lost, begun) = match (end.place.seq, before) {
            (0, before) => (before, None),
            (_, None) => (None, Some(begun::of(&disk).map_err(open)?)),
            (_, Some(_)) => (None, None),
        };
        let words = words(&end, lost, last, now_unix_ns);
        let mut ledger = Self {
            path: path.into(),
            chain: Chain::resume(log, epochs, end.place),
            store: Store::new(disk, end.open, end.durable, end.tiles),
            keys,
            stored_epoch,
            begun,
            signed: end.signed,
            signed_ns: None,
            keep: None,
            retired: None,
            refused: 0,
            refused_since_ns: None,
            _lock: None,
        };
        let lines = words
            .iter()
            .flat_map(|body| ledger.submit(body, now_unix_ns))
            .collect();
        Ok((ledger, lines))
    }

    /// Signs a record and queues it for the file; gives its line, behind that of a hand-over where one was due. None, and
    /// counted, while the file takes nothing and the queue is full.
    pub fn submit(&mut self, body: &Body, unix_ns: u64) -> Vec<Line> {
        if self.store.waiting_bytes() > limits::UNWRITTEN_BYTES {
            self.refused += 1;
            self.refused_since_ns.get_or_insert(unix_ns);
            return Vec::new();
        }
        let mut lines = Vec::new();
        self.chain.sign(body, unix_ns, &mut lines);
        let mut full = self.chain.take_full();
        if let Some(first) = lines.first().filter(|line| line.seq == 0) {
            self.begun = Some(begun::hash(&first.bytes));
        }
        for line in &lines {
            self.store.put(line.seq, &line.bytes, &mut full);
        }
        lines
    }

    /// Makes everything that was submitted durable, and signs a checkpoint when one is due. On an error the lines stay
    /// queued; call again.
    ///
    /// When the file takes lines again after some were refused, the first new line says how many.
    pub fn commit(&mut self, now_unix_ns: u64) -> Result<Vec<Line>, LogError> {
        self.settle()?;
        let mut lines = self.say_refused(now_unix_ns)?;
        lines.extend(self.retire(now_unix_ns)?);
        self.publish_due(now_unix_ns)?;
        Ok(lines)
    }

    fn publish_due(&mut self, now_unix_ns: u64) -> Result<(), LogError> {
        let due = self
            .signed_ns
            .is_none_or(|at| now_unix_ns.abs_diff(at) >= CHECKPOINT_NS);
        if due && self.chain.seq() > self.signed {
            self.publish(now_unix_ns)?;
        }
        Ok(())
    }

    /// The last commit of a run: its checkpoint covers every line. Nothing is deleted: a record of that behind the stop record
    /// would look as if the run had gone on.
    pub fn close(&mut self, now_unix_ns: u64) -> Result<(), LogError> {
        self.settle()?;
        self.say_refused(now_unix_ns)?;
        self.signed_ns = None;
        self.publish_due(now_unix_ns)
    }

    /// Lines become durable first, then the secret of their epoch goes, and only then may a checkpoint cover them.
    fn settle(&mut self) -> Result<(), LogError> {
        self.store.commit().map_err(|source| self.failed(source))?;
        if self.chain.epochs().number() != self.stored_epoch {
            epoch::file::store(&mut self.keys, self.chain.epochs()).map_err(|source| self.failed(source))?;
            self.stored_epoch = self.chain.epochs().number();
        }
        if let Some(first) = &self.begun {
            begun::write(&mut self.keys, first).map_err(|source| self.failed(source))?;
            self.begun = None;
        }
        Ok(())
    }

    fn publish(&mut self, now_unix_ns: u64) -> Result<(), LogError> {
        let note = self.chain.checkpoint().to_string();
        self.store.publish(&note).map_err(|source| self.failed(source))?;
        (self.signed, self.signed_ns) = (self.chain.seq(), Some(now_unix_ns));
        Ok(())
    }

    fn say_refused(&mut self, now_unix_ns: u64) -> Result<Vec<Line>, LogError> {
        if self.refused == 0 {
            return Ok(Vec::new());
        }
        let body = Gap {
            place: "sink".into(),
            lost: BTreeMap::from([("records".into(), self.refused)]),
            since: self.refused_since_ns.take().map(rfc3339),
            until: Some(rfc3339(now_unix_ns)),
            ..Gap::default()
        };
        self.refused = 0;
        let lines = self.submit(&Body::Gap(body), now_unix_ns);
        self.settle()?;
        Ok(lines)
    }

    /// Says how long records stay; without this they stay for ever.
    pub fn keep(&mut self, keep: Keep) {
        self.keep = Some(keep);
    }

    /// Once an hour and with each new segment: deletes what is older, or more, than it has to be. The record that says so is
    /// durable and under a checkpoint before anything goes.
    fn retire(&mut self, now_unix_ns: u64) -> Result<Vec<Line>, LogError> {
        let segment = self.chain.seq() / store::SEGMENT;
        let Some(keep) = self.keep.filter(|_| {
            self.retired
                .is_none_or(|(at, of)| of != segment || now_unix_ns.abs_diff(at) >= RETIRE_NS)
        }) else {
            return Ok(Vec::new());
        };
        let due =
            retention::due(self.store.disk(), keep, now_unix_ns).map_err(|source| self.failed(source))?;
        let Some(due) = due else {
            self.retired = Some((now_unix_ns, segment));
            return Ok(Vec::new());
        };
        let lines = self.submit(&Body::Retention(due.record()), now_unix_ns);
        if lines.is_empty() {
            return Ok(lines);
        }
        self.settle()?;
        self.publish(now_unix_ns)?;
        let freed = retention::retire(self.store.disk_mut(), due.retired_before)
            .map_err(|source| self.failed(source))?;
        tracing::info!(
            before = due.retired_before,
            bytes = freed,
            reason = due.reason,
            "records were deleted, as the retention asks"
        );
        Ok(lines)
    }

    fn failed(&self, source: io::Error) -> LogError {
        LogError::Write {
            path: self.path.clone(),
            source,
        }
    }

    /// Records that wait for the file, in bytes.
    pub fn unwritten_bytes(&self) -> usize {
        self.store.waiting_bytes()
    }

    /// Lines that the last checkpoint covers.
    pub fn signed(&self) -> u64 {
        self.signed
    }

    /// What holds the log.
    pub fn disk(&self) -> &D {
        self.store.disk()
    }
}

/// Brings the secret to the epoch that the log's last line leaves it in: the agent may have ended between the two.
fn catch_up(line: &[u8], origin: &str, epochs: &mut Epochs) -> Result<Claim, LineError> {
    let last = line::claim(line)?;
    if last.next == Some((epochs.number(), epochs.key().verifier().to_string())) {
        // The key that signed this hand-over is gone; that it names ours is enough.
        return Ok(last);
    }
    let most = epochs.number().saturating_add(limits::EPOCHS_BEHIND);
    while epochs.number() < last.epoch.min(most) {
        epochs.advance();
    }
    let signer = Signer {
        origin: origin.into(),
        epoch: epochs.number(),
        key: epochs.key().verifier(),
    };
    if check_line(line, &signer)?.next.is_some() {
        epochs.advance();
    }
    Ok(last)
}

/// What has to be said of the end of a log before it goes on; `lost` is the first line of one that is not there any more.
fn words(end: &End, lost: Option<String>, last: Option<Claim>, now_unix_ns: u64) -> Vec<Body> {
    let mut words = Vec::new();
    if lost.is_some() {
        words.push(Body::Recovery(Recovery {
            lost_first_line: lost,
            ..Recovery::default()
        }));
    }
    if let Some(torn) = &end.torn {
        words.push(Body::Recovery(Recovery {
            torn_bytes: torn.bytes,
            torn_file: Some(torn.file.clone()),
            torn_sha256: Some(torn.sha256.clone()),
            ..Recovery::default()
        }));
    }
    if let Some(last) = last.filter(|last| last.record_type != "agent_stop") {
        words.push(Body::Gap(Gap {
            place: "agent_down".into(),
            since: Some(last.time),
            until: Some(rfc3339(now_unix_ns)),
            ..Gap::default()
        }));
    }
    words
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
