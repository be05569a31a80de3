//! Where tiles are and what they hold (C2SP tlog-tiles).
//!
//! In: levels and numbers. Out: resource paths, hashes. A tile of level `l` has up to 256 hashes, each the root of
//! 256^l entries.

use super::proof::Hashes;
use super::{Hash, root_of};
use std::collections::BTreeMap;

/// Hashes of a full tile, and entries of a full bundle.
pub const WIDTH: u64 = 256;
/// Levels that a tree of 2^53 entries can have.
pub const LEVELS: u8 = 7;

/// A tile, full or the right edge of its level.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tile {
    pub level: u8,
    pub index: u64,
    pub hashes: Vec<Hash>,
}

impl Tile {
    /// Its path below the log's prefix.
    pub fn path(&self) -> String {
        path(Some(self.level), self.index, self.hashes.len() as u64)
    }

    /// Its hashes one behind the other.
    pub fn bytes(&self) -> Vec<u8> {
        self.hashes.concat()
    }
}

/// `tile/<level>/<index>[.p/<width>]`; without a level the bundle of entries.
pub fn path(level: Option<u8>, index: u64, width: u64) -> String {
    let level = level.map_or("entries".to_owned(), |level| level.to_string());
    let part = if width == WIDTH {
        String::new()
    } else {
        format!(".p/{width}")
    };
    format!("tile/{level}/{}{part}", number(index))
}

/// Groups of three digits, all but the last with an `x` before it.
fn number(index: u64) -> String {
    let mut text = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

/// What a resource path names: level (None: entries), number, width.
pub fn parse_path(path: &str) -> Option<(Option<u8>, u64, u64)> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let level = match level {
        "entries" => None,
        level => Some(level.parse().ok().filter(|level| *level < 64)?),
    };
    let (digits, width) = match rest.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().ok().filter(|w| (1..WIDTH).contains(w))?),
        None => (rest, WIDTH),
    };
    let mut index = 0_u64;
    for group in digits.split('/') {
        let group = group.strip_prefix('x').unwrap_or(group);
        let value: u64 = group.parse().ok().filter(|_| group.len() == 3)?;
        index = index.checked_mul(1000)?.checked_add(value)?;
    }
    // One spelling only: a cache or a witness must not see two names of one thing.
    (self::path(level, index, width) == path).then_some((level, index, width))
}

/// How many hashes tile `index` of `level` has in a tree of `size` entries; 0 when it does not exist.
pub fn width_at(level: u8, index: u64, size: u64) -> u64 {
    let hashes = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    hashes.saturating_sub(index.saturating_mul(WIDTH)).min(WIDTH)
}

/// Splits the bytes of a tile; None when they are not `width` hashes.
pub fn hashes(bytes: &[u8], width: u64) -> Option<Vec<Hash>> {
    let hashes: Vec<Hash> = bytes.chunks(32).filter_map(|hash| hash.try_into().ok()).collect();
    (bytes.len() as u64 == width * 32).then_some(hashes)
}

/// Splits an entry bundle: each entry behind its length as 2 bytes, big endian. None when it does not come out even.
pub fn entries(mut bundle: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while let Some((len, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        entries.push(entry);
        bundle = rest;
    }
    bundle.is_empty().then_some(entries)
}

/// Puts an entry into a bundle. False, and nothing done, when it is longer than a bundle can say.
pub fn put_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(len) = u16::try_from(entry.len()) else {
        return false;
    };
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// Roots of perfect subtrees out of tiles that `fetch` gives by level, number and width.
#[derive(Debug)]
pub struct Tiles<F> {
    size: u64,
    fetch: F,
    known: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl<F> Tiles<F> {
    pub fn new(size: u64, fetch: F) -> Self {
        Self {
            size,
            fetch,
            known: BTreeMap::new(),
        }
    }
}

impl<E, F: FnMut(u8, u64, u64) -> Result<Vec<Hash>, E>> Hashes for Tiles<F> {
    type Error = E;

    fn perfect(&mut self, level: u32, index: u64) -> Result<Hash, E> {
        let tile_level = u8::try_from(level / 8).unwrap_or(u8::MAX);
        let span = 1_u64 << (level % 8);
        let first = index.saturating_mul(span);
        let place = (tile_level, first / WIDTH);
        if !self.known.contains_key(&place) {
            let width = width_at(place.0, place.1, self.size);
            let hashes = (self.fetch)(place.0, place.1, width)?;
            self.known.insert(place, hashes);
        }
        let hashes = self.known.get(&place).map(Vec::as_slice).unwrap_or_default();
        let from = usize::try_from(first % WIDTH).unwrap_or(0);
        let to = from + usize::try_from(span).unwrap_or(1);
        Ok(root_of(hashes.get(from..to).unwrap_or_default()))
    }
}
