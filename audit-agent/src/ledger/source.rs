//! A log as the resources of C2SP tlog-tiles, wherever it lies.
//!
//! In: resource paths (`checkpoint`, `tile/<level>/<n>`, `tile/entries/<n>`). Out: their bytes. What is not stored as
//! such is made from the segments: bundles, partial tiles, the tiles of the open segment.

use super::disk::Read;
use super::merkle::tile::{self, WIDTH};
use super::merkle::{Hash, leaf, root_of};
use super::store::{CHECKPOINT, COSIGNED, KEPT, SEGMENT, segment, segments};
use std::io;

/// Gives resources; None for what is not there.
pub trait Source {
    fn fetch(&mut self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// How many lines there are, also behind the checkpoint; None where only the checkpoint tells.
    fn extent(&mut self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    /// Whether bytes follow the last line that are no line.
    fn torn(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

/// The log of a directory. Lines are read whole; one segment stays in memory.
#[derive(Debug)]
pub struct Files<D> {
    disk: D,
    /// The segment that was read last, by its first line, and where its lines end.
    cached: Option<(u64, Vec<u8>, Vec<usize>)>,
}

impl<D: Read> Files<D> {
    pub fn new(disk: D) -> Self {
        Self { disk, cached: None }
    }

    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Lines of the segment that begins with `first`, without their line ends; what follows the last line end is left
    /// out. None when there is no such segment.
    fn segment(&mut self, first: u64) -> io::Result<Option<(&[u8], &[usize])>> {
        if self.cached.as_ref().is_none_or(|(cached, ..)| *cached != first) {
            let Some(bytes) = self.disk.read(&segment(first))? else {
                return Ok(None);
            };
            let ends = (0..)
                .zip(&bytes)
                .filter(|(_, byte)| **byte == b'\n')
                .map(|(at, _)| at);
            let ends = ends.collect();
            self.cached = Some((first, bytes, ends));
        }
        Ok(self
            .cached
            .as_ref()
            .map(|(_, bytes, ends)| (bytes.as_slice(), ends.as_slice())))
    }

    /// Line `seq`; None when it is not there.
    pub fn line(&mut self, seq: u64) -> io::Result<Option<Vec<u8>>> {
        let place = usize::try_from(seq % SEGMENT).unwrap_or(usize::MAX);
        let Some((bytes, ends)) = self.segment(seq - seq % SEGMENT)? else {
            return Ok(None);
        };
        Ok(line_at(bytes, ends, place).map(<[u8]>::to_vec))
    }

    /// Reads the open segment anew: the agent may have written since.
    pub fn refresh(&mut self) {
        self.cached = None;
    }

    /// `width` lines of bundle `index`.
    fn bundle(&mut self, index: u64, width: u64) -> io::Result<Option<Vec<&[u8]>>> {
        let first = index.saturating_mul(WIDTH);
        let from = usize::try_from(first % SEGMENT).unwrap_or(usize::MAX);
        let Some((bytes, ends)) = self.segment(first - first % SEGMENT)? else {
            return Ok(None);
        };
        let to = from.saturating_add(usize::try_from(width).unwrap_or(0));
        Ok((from..to).map(|place| line_at(bytes, ends, place)).collect())
    }

    /// `width` hashes of a tile: from its file, else from what is below it.
    pub fn tile(&mut self, level: u8, index: u64, width: u64) -> io::Result<Option<Vec<Hash>>> {
        if let Some(bytes) = self.disk.read(&tile::path(Some(level), index, WIDTH))?
            && let Some(mut hashes) = tile::hashes(&bytes, WIDTH)
        {
            hashes.truncate(usize::try_from(width).unwrap_or(0));
            return Ok(Some(hashes));
        }
        let Some(below) = level.checked_sub(1) else {
            let lines = self.bundle(index, width)?;
            return Ok(lines.map(|lines| lines.into_iter().map(leaf).collect()));
        };
        let mut hashes = Vec::new();
        for child in (0..width).map(|n| index.saturating_mul(WIDTH).saturating_add(n)) {
            match self.tile(below, child, WIDTH)? {
                Some(full) => hashes.push(root_of(&full)),
                None => return Ok(None),
            }
        }
        Ok(Some(hashes))
    }
}

fn line_at<'a>(bytes: &'a [u8], ends: &[usize], place: usize) -> Option<&'a [u8]> {
    let from = match place.checked_sub(1) {
        Some(before) => ends.get(before)? + 1,
        None => 0,
    };
    bytes.get(from..*ends.get(place)?)
}

impl<D: Read> Source for Files<D> {
    fn fetch(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if [CHECKPOINT, COSIGNED, KEPT].contains(&path) {
            return self.disk.read(path);
        }
        let Some((level, index, width)) = tile::parse_path(path) else {
            return Ok(None);
        };
        if let Some(level) = level {
            // A level above what a log can have would only be a long way down.
            let hashes = if level < tile::LEVELS {
                self.tile(level, index, width)?
            } else {
                None
            };
            return Ok(hashes.map(|hashes| hashes.concat()));
        }
        let Some(lines) = self.bundle(index, width)? else {
            return Ok(None);
        };
        let mut bundle = Vec::new();
        let whole = lines.iter().all(|line| tile::put_entry(&mut bundle, line));
        Ok(whole.then_some(bundle))
    }

    fn extent(&mut self) -> io::Result<Option<u64>> {
        let Some(last) = segments(&self.disk)?.last().copied() else {
            return Ok(Some(0));
        };
        let lines = self.segment(last)?.map_or(0, |(_, ends)| ends.len() as u64);
        Ok(Some(last + lines))
    }

    fn torn(&mut self) -> io::Result<bool> {
        let Some(last) = segments(&self.disk)?.last().copied() else {
            return Ok(false);
        };
        Ok(self
            .segment(last)?
            .is_some_and(|(bytes, _)| bytes.last().is_some_and(|byte| *byte != b'\n')))
    }
}

/// Hashes of a tile from any source; what is missing is an error that names it.
pub fn hashes(source: &mut impl Source, level: u8, index: u64, width: u64) -> io::Result<Vec<Hash>> {
    let path = tile::path(Some(level), index, width);
    let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the log has no {path}"));
    let bytes = source.fetch(&path)?.ok_or_else(missing)?;
    tile::hashes(&bytes, width).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{path} is not {width} hashes long"),
        )
    })
}
