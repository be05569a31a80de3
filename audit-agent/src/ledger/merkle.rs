//! The Merkle tree over the lines of a log (RFC 6962 section 2.1), in the tiles of C2SP tlog-tiles.
//!
//! In: lines, or the hashes of others. Out: roots, tiles, proofs, and whether a proof holds. Never: IO; a panic,
//! whatever a proof holds.

pub mod proof;
pub mod tile;
pub mod tree;

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// SHA-256(0x00 || entry), RFC 6962 section 2.1.
pub fn leaf(entry: &[u8]) -> Hash {
    Sha256::new()
        .chain_update([0])
        .chain_update(entry)
        .finalize()
        .into()
}

/// SHA-256(0x01 || left || right).
pub fn node(left: &Hash, right: &Hash) -> Hash {
    let mut both = [1; 65];
    both[1..33].copy_from_slice(left);
    both[33..].copy_from_slice(right);
    Sha256::digest(both).into()
}

/// The root of no entries: SHA-256 of nothing.
pub fn empty() -> Hash {
    Sha256::digest([]).into()
}

/// The root over `hashes`, each the root of a perfect subtree of one size; the last may be of a smaller one.
pub fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(usize::try_from(split(more.len() as u64)).unwrap_or(1));
            node(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two below `count`, for `count` >= 2.
fn split(count: u64) -> u64 {
    1 << (63 - count.saturating_sub(1).max(1).leading_zeros())
}

#[cfg(test)]
mod tests;
