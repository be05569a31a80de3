//! The files of the log: segments of lines, tiles of hashes, the last checkpoint.
//!
//! In: signed lines and tiles in order. Out: the same, durable, and after any interruption where to go on. Layout
//! (ADR 9): `records/<first seq>.jsonl` with [`SEGMENT`] lines each, `tile/...` of closed segments, `checkpoint`.
//! Tiles of a segment are durable before the next segment exists; those of the last one follow from its lines.

use super::disk::{Disk, Read, parent};
use super::merkle::tile::Tile;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};

/// Lines of one segment: 16 bundles of C2SP tlog-tiles.
pub const SEGMENT: u64 = 4096;
/// Directory of the segments.
pub const RECORDS: &str = "records";
/// The last checkpoint that was signed.
pub const CHECKPOINT: &str = "checkpoint";

/// The last checkpoint that enough witnesses cosigned.
pub const COSIGNED: &str = "checkpoint.cosigned";
/// Lines that stay when their segment is deleted: epoch and retention records.
pub const KEPT: &str = "kept.jsonl";

/// The segment that begins with line `first`.
pub fn segment(first: u64) -> String {
    format!("{RECORDS}/{first:012}.jsonl")
}

/// The first lines of the segments that are there, in order.
pub fn segments(disk: &impl Read) -> io::Result<BTreeSet<u64>> {
    let names = disk.list(RECORDS)?;
    let firsts = names.iter().filter_map(|name| {
        let first = name.strip_suffix(".jsonl")?.parse().ok()?;
        (segment(first) == format!("{RECORDS}/{name}") && first % SEGMENT == 0).then_some(first)
    });
    Ok(firsts.collect())
}

/// Lines of one segment that are not durable yet.
#[derive(Debug)]
struct Batch {
    first: u64,
    bytes: Vec<u8>,
}

/// Takes lines and tiles; gives nothing back.
#[derive(Debug)]
pub struct Store<D> {
    disk: D,
    /// The segment that is written to, and how much of it is durable.
    open: u64,
    durable: u64,
    /// Bytes may be behind `durable` that are not known to be whole: an earlier write or synchronisation failed.
    dirty: bool,
    waiting: VecDeque<Batch>,
    waiting_bytes: usize,
    /// Tiles of the open segment and of those that wait.
    tiles: VecDeque<Tile>,
}

impl<D: Disk> Store<D> {
    /// Goes on in segment `open`, of which `durable` bytes are good; `tiles` are those that its lines filled.
    pub fn new(disk: D, open: u64, durable: u64, tiles: Vec<Tile>) -> Self {
        Self {
            disk,
            open,
            durable,
            dirty: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            tiles: tiles.into(),
        }
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    pub fn disk_mut(&mut self) -> &mut D {
        &mut self.disk
    }

    /// Bytes that are not durable yet.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Queues line `seq`, without its line end, and the tiles that it filled.
    pub fn put(&mut self, seq: u64, line: &[u8], full: &mut Vec<Tile>) {
        let first = seq - seq % SEGMENT;
        if self.waiting.back().is_none_or(|batch| batch.first != first) {
            let bytes = Vec::new();
            self.waiting.push_back(Batch { first, bytes });
        }
        if let Some(batch) = self.waiting.back_mut() {
            batch.bytes.extend_from_slice(line);
            batch.bytes.push(b'\n');
            self.waiting_bytes += line.len() + 1;
        }
        self.tiles.extend(full.drain(..));
    }

    /// Makes every queued line durable. After an error everything that is not known to be durable is written again.
    pub fn commit(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front().map(|batch| batch.first) {
            if first != self.open {
                self.close(first)?;
            }
            self.write_front()?;
        }
        Ok(())
    }

    fn write_front(&mut self) -> io::Result<()> {
        let Some(batch) = self.waiting.front() else {
            return Ok(());
        };
        let name = segment(self.open);
        let new = self.durable == 0;
        if new {
            self.disk.make_dir(RECORDS)?;
        }
        match (self.dirty, new) {
            (false, _) => {}
            // It may not even be there.
            (true, true) => self.disk.write(&name, b"")?,
            (true, false) => self.disk.truncate(&name, self.durable)?,
        }
        self.dirty = true;
        let mut rest = batch.bytes.as_slice();
        while !rest.is_empty() {
            match self.disk.append(&name, rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.disk.sync(&name)?;
        if new {
            self.disk.sync_dir(RECORDS)?;
        }
        self.dirty = false;
        self.durable += batch.bytes.len() as u64;
        self.waiting_bytes -= batch.bytes.len();
        self.waiting.pop_front();
        Ok(())
    }

    /// The open segment is full: its tiles become durable, and `next` the open one.
    fn close(&mut self, next: u64) -> io::Result<()> {
        let below = |tile: &Tile| {
            let span = 256_u64.saturating_pow(u32::from(tile.level) + 1);
            tile.index.saturating_add(1).saturating_mul(span) <= next
        };
        let mut dirs = BTreeSet::new();
        for tile in self.tiles.iter().filter(|tile| below(tile)) {
            let name = tile.path();
            self.disk.make_dir(parent(&name))?;
            self.disk.write(&name, &tile.bytes())?;
            self.disk.sync(&name)?;
            dirs.insert(parent(&name).to_owned());
        }
        for dir in dirs {
            self.disk.sync_dir(&dir)?;
        }
        self.tiles.retain(|tile| !below(tile));
        (self.open, self.durable, self.dirty) = (next, 0, false);
        Ok(())
    }

    /// Replaces the last checkpoint; it is durable when this returns.
    pub fn publish(&mut self, note: &str) -> io::Result<()> {
        self.disk.replace(CHECKPOINT, note.as_bytes())
    }
}
