//! Proofs that an entry is in a tree, and that a tree is the beginning of another.
//!
//! Made after RFC 6962 sections 2.1.1 and 2.1.2, checked after RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use super::{Hash, node, split};

/// Hashes in a proof: a tree of 2^63 entries needs no more.
pub const MOST: usize = 63;

/// Gives the roots of perfect subtrees.
pub trait Hashes {
    type Error;

    /// The root of the entries from `index << level` to `(index + 1) << level`.
    fn perfect(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The root over entries `from..to`, where `from` is a multiple of the smallest power of two >= `to - from`.
pub fn root<H: Hashes>(from: u64, to: u64, hashes: &mut H) -> Result<Hash, H::Error> {
    let count = to.saturating_sub(from);
    if count == 0 {
        return Ok(super::empty());
    }
    if count.is_power_of_two() {
        return hashes.perfect(count.trailing_zeros(), from / count);
    }
    let middle = from + split(count);
    Ok(node(&root(from, middle, hashes)?, &root(middle, to, hashes)?))
}

/// The hashes that lead from entry `index` to the root over `size`, from the leaf's sibling up.
pub fn inclusion<H: Hashes>(index: u64, size: u64, hashes: &mut H) -> Result<Vec<Hash>, H::Error> {
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(root(middle, to, hashes)?);
            to = middle;
        } else {
            path.push(root(from, middle, hashes)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// The hashes that show the first `old` of `size` entries to be what they were; none when `old` is 0 or `size`.
pub fn consistency<H: Hashes>(old: u64, size: u64, hashes: &mut H) -> Result<Vec<Hash>, H::Error> {
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    if old == 0 || old >= size {
        return Ok(path);
    }
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(root(middle, to, hashes)?);
            to = middle;
        } else {
            path.push(root(from, middle, hashes)?);
            from = middle;
        }
    }
    // The old root itself is known to whoever checks.
    if from > 0 {
        path.push(root(from, to, hashes)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` leads from `leaf` at `index` to `root` of a tree of `size` (RFC 9162 section 2.1.3.2).
pub fn includes(root: &Hash, size: u64, index: u64, leaf: &Hash, path: &[Hash]) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// A tree by its size and root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    pub size: u64,
    pub root: Hash,
}

/// Whether `old` is the beginning of `new` (RFC 9162 section 2.1.4.2).
pub fn consistent(old: &Head, new: &Head, path: &[Hash]) -> bool {
    if old.size == 0 {
        return path.is_empty() && old.root == super::empty();
    }
    if old.size >= new.size {
        return path.is_empty() && old == new;
    }
    // A proof of a power of two begins at the old root itself.
    let (first, rest) = if old.size.is_power_of_two() {
        (&old.root, path)
    } else {
        match path.split_first() {
            Some(split) => split,
            None => return false,
        }
    };
    let shift = (old.size - 1).trailing_ones();
    let (mut at, mut last) = ((old.size - 1) >> shift, (new.size - 1) >> shift);
    let (mut old_root, mut new_root) = (*first, *first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_root = node(hash, &old_root);
            new_root = node(hash, &new_root);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_root = node(&new_root, hash);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_root == old.root && new_root == new.root
}
