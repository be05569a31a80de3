//! The growing tree: its right edge, from which the next root and the next tiles come.

use super::tile::{LEVELS, Tile, WIDTH, width_at};
use super::{Hash, empty, root_of};

/// Holds at most 255 hashes of each level; full tiles are handed out.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// By level, the hashes of its tile that is not full.
    edge: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree of `size` entries whose partial tiles `fetch` gives by level and number.
    pub fn resume<E>(size: u64, mut fetch: impl FnMut(u8, u64) -> Result<Vec<Hash>, E>) -> Result<Self, E> {
        let mut edge = Vec::new();
        for level in 0..LEVELS {
            let index = (size >> (8 * u32::from(level))) / WIDTH;
            match width_at(level, index, size) {
                0 => edge.push(Vec::new()),
                _ => edge.push(fetch(level, index)?),
            }
        }
        Ok(Self { size, edge })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry by its leaf hash; tiles that it fills go to `full`.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<Tile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            let Some(hashes) = self.edge.get_mut(usize::from(level)) else {
                self.edge.push(vec![hash]);
                return;
            };
            hashes.push(hash);
            if (hashes.len() as u64) < WIDTH {
                return;
            }
            hash = root_of(hashes);
            let hashes = std::mem::take(hashes);
            let index = (self.size >> (8 * u32::from(level))) / WIDTH - 1;
            full.push(Tile { level, index, hashes });
        }
    }

    /// RFC 6962 section 2.1. The edge of each level stands left of what is below it.
    pub fn root(&self) -> Hash {
        let mut below: Option<Hash> = None;
        for hashes in &self.edge {
            let row: Vec<Hash> = hashes.iter().copied().chain(below).collect();
            below = (!row.is_empty()).then(|| root_of(&row));
        }
        below.unwrap_or_else(empty)
    }

    /// The tiles of the right edge that are not full.
    pub fn partial(&self) -> impl Iterator<Item = Tile> + '_ {
        (0_u8..)
            .zip(&self.edge)
            .filter(|(_, hashes)| !hashes.is_empty())
            .map(|(level, hashes)| Tile {
                level,
                index: (self.size >> (8 * u32::from(level))) / WIDTH,
                hashes: hashes.clone(),
            })
    }
}
