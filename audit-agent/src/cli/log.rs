//! Where a log is that a command reads: a directory, a server, or a file of lines.

use crate::ledger::disk::DirDisk;
use crate::ledger::http::{Remote, Url};
use crate::ledger::merkle::tile;
use crate::ledger::source::{Files, Source};
use crate::ledger::store::RECORDS;
use crate::limits;
use anyhow::Context;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// A log that can be read.
#[derive(Debug)]
pub enum Opened {
    Files(Files<DirDisk>),
    Remote(Remote),
    Lines(Lines),
}

/// Opens what `log` names.
pub fn open(log: &str) -> anyhow::Result<Opened> {
    if log.contains("://") {
        let url = Url::parse(log)
            .with_context(|| format!("{log} is no address of the form http://host:port/path"))?;
        return Ok(Opened::Remote(Remote(url)));
    }
    let path = Path::new(log);
    if path.is_dir() {
        return Ok(Opened::Files(Files::new(DirDisk::new(&log_dir(path)))));
    }
    let file = File::open(path).with_context(|| format!("cannot read the log {log}"))?;
    Ok(Opened::Lines(
        Lines::new(file).with_context(|| format!("cannot read the log {log}"))?,
    ))
}

/// The log's own directory; the agent's directory has it in `log`.
pub fn log_dir(dir: &Path) -> PathBuf {
    let inner = dir.join("log");
    if inner.join(RECORDS).is_dir() {
        inner
    } else {
        dir.into()
    }
}

/// A file of lines, read from its beginning to its end.
#[derive(Debug)]
pub struct Lines {
    reader: BufReader<File>,
    /// The next line.
    next: u64,
    lines: u64,
    torn: bool,
}

impl Lines {
    fn new(file: File) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 20, file);
        let (mut lines, mut torn) = (0, false);
        loop {
            let bytes = reader.fill_buf()?;
            let Some(last) = bytes.last() else { break };
            torn = *last != b'\n';
            lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            let len = bytes.len();
            reader.consume(len);
        }
        reader.rewind()?;
        Ok(Self {
            reader,
            next: 0,
            lines,
            torn,
        })
    }
}

impl Source for Lines {
    fn fetch(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some((None, index, width)) = tile::parse_path(path) else {
            return Ok(None);
        };
        if index * tile::WIDTH != self.next {
            return Ok(None);
        }
        let mut bundle = Vec::new();
        let most = 2 * limits::RECORD_BYTES as u64;
        for _ in 0..width {
            let mut line = Vec::new();
            (&mut self.reader).take(most).read_until(b'\n', &mut line)?;
            // A line longer than any record is no record; what is put here for it is none either.
            if line.pop() != Some(b'\n') || !tile::put_entry(&mut bundle, &line) {
                tile::put_entry(&mut bundle, b"");
            }
        }
        self.next += width;
        Ok(Some(bundle))
    }

    fn extent(&mut self) -> io::Result<Option<u64>> {
        Ok(Some(self.lines))
    }

    fn torn(&mut self) -> io::Result<bool> {
        Ok(self.torn)
    }
}
