//! The segments of a run: tar archives that only grow until they are closed, and whole ones that are removed.
//!
//! In: members. Out: the same, durable, and the name of their segment. Never: an append to another run's segment, whose end may be
//! torn: a run begins its own.

use super::StoreError;
use crate::content::dir::Dir;
use crate::content::retention::{self, Limits, Segment};
use crate::content::tar;
use crate::limits;
use crate::record::hash::hex;
use std::fs::File;
use std::io::{self, Read, Write};

#[derive(Debug)]
pub struct Segments {
    dir: Dir,
    keep: Limits,
    current: Option<Current>,
    members: u64,
}

#[derive(Debug)]
struct Current {
    name: String,
    file: File,
    bytes: u64,
    begins: u64,
}

impl Segments {
    pub fn open(content: &Dir, keep: Limits) -> io::Result<Self> {
        Ok(Self {
            dir: content.sub("segments", 0o750)?,
            keep,
            current: None,
            members: 0,
        })
    }

    /// A name that no other member of the segment has.
    pub fn next_member(&mut self, key_id: &str) -> String {
        self.members += 1;
        format!("{key_id}-{:08}.age", self.members)
    }

    /// Appends whole members and makes them durable; gives the segment's name.
    pub fn append(&mut self, archive: &[u8], now_ns: u64, random: &mut File) -> Result<String, StoreError> {
        let appended = self.try_append(archive, now_ns / 1_000_000_000, random);
        appended.map_err(|source| StoreError::Io {
            path: "content/segments".into(),
            source,
        })
    }

    fn try_append(&mut self, archive: &[u8], now: u64, random: &mut File) -> io::Result<String> {
        let full = |current: &Current| {
            current.bytes >= self.segment_bytes()
                || now.saturating_sub(current.begins) >= limits::CONTENT_SEGMENT_SECONDS
        };
        if self.current.as_ref().is_some_and(full) {
            self.close();
        }
        if self.current.is_none() {
            self.current = Some(self.begin(now, random)?);
        }
        let Some(current) = &mut self.current else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let written = current
            .file
            .write_all(archive)
            .and_then(|()| current.file.sync_data());
        if let Err(error) = written {
            // What was written of it belongs to no record; a segment that cannot be cut back is left behind.
            if current
                .file
                .set_len(current.bytes)
                .and_then(|()| rewind(current))
                .is_err()
            {
                self.current = None;
            }
            return Err(error);
        }
        current.bytes += archive.len() as u64;
        Ok(current.name.clone())
    }

    fn begin(&self, now: u64, random: &mut File) -> io::Result<Current> {
        let mut id = [0; 4];
        random.read_exact(&mut id)?;
        let name = format!("{now:010}-{}.tar", hex(&id));
        let file = self.dir.create(&name, 0o640)?;
        self.dir.sync()?;
        Ok(Current {
            name,
            file,
            bytes: 0,
            begins: now,
        })
    }

    /// Writes the archive's end; without it the archive is read all the same.
    pub fn close(&mut self) {
        if let Some(mut current) = self.current.take() {
            let ended = current
                .file
                .write_all(&tar::END)
                .and_then(|()| current.file.sync_data());
            if let Err(error) = ended {
                tracing::warn!(%error, segment = current.name, "a segment of content has no end mark");
            }
        }
    }

    /// Small where little room is given, so that whole segments can go.
    fn segment_bytes(&self) -> u64 {
        match self.keep.bytes {
            0 => limits::CONTENT_SEGMENT_BYTES,
            bytes => (bytes / 8).clamp(64 * 1024, limits::CONTENT_SEGMENT_BYTES),
        }
    }

    /// Segments that are over their time or their room, with why.
    pub fn due(&self, now: u64) -> Vec<(Segment, &'static str)> {
        let names = self.dir.list().unwrap_or_default();
        let segments = names
            .iter()
            .filter_map(|name| Segment::new(name, self.dir.bytes_of(name).ok()?));
        let open = self.current.as_ref().map(|current| current.name.as_str());
        retention::due(segments.collect(), open, self.keep, now)
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)?;
        self.dir.sync()
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        self.close();
    }
}

fn rewind(current: &mut Current) -> io::Result<()> {
    use std::io::{Seek, SeekFrom};
    current.file.seek(SeekFrom::Start(current.bytes)).map(drop)
}
