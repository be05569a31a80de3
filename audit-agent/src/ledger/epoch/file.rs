//! The file of the epoch's secret: one at a time, the one before overwritten.
//!
//! In: a directory for the agent alone. Out: the secret of the newest epoch. The new file is durable before the old one
//! is overwritten, synchronised and removed; an interruption in between leaves both, and the older is erased next time.
//! What a disk keeps of overwritten blocks is beyond a file system's reach: `docs/ledger.md` says what follows.

use super::Epochs;
use crate::ledger::disk::{Disk, Read};
use std::io;
use zeroize::Zeroizing;

fn name(number: u64) -> String {
    format!("epoch-{number}.key")
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix("epoch-")?.strip_suffix(".key")?.parse().ok()
}

/// The newest secret of the log `origin`; None when there is none.
pub fn load(disk: &impl Read, origin: &str) -> io::Result<Option<Epochs>> {
    let mut newest: Option<Epochs> = None;
    for number in disk.list("")?.iter().filter_map(|name| number(name)) {
        let Some(bytes) = disk.read(&name(number))?.map(Zeroizing::new) else {
            continue;
        };
        // Zeros, or too few bytes, are what an interruption leaves of one that was erased or not yet whole.
        let secret: Result<[u8; 32], _> = bytes.as_slice().try_into();
        let Some(secret) = secret
            .ok()
            .map(Zeroizing::new)
            .filter(|secret| **secret != [0; 32])
        else {
            continue;
        };
        if newest.as_ref().is_none_or(|newest| newest.number() < number) {
            newest = Some(Epochs::new(origin, number, secret));
        }
    }
    Ok(newest)
}

/// Makes the secret of this epoch durable, then erases all others.
pub fn store(disk: &mut impl Disk, epochs: &Epochs) -> io::Result<()> {
    let new = name(epochs.number());
    disk.write(&new, epochs.secret())?;
    disk.sync(&new)?;
    disk.sync_dir("")?;
    for old in disk.list("")? {
        if number(&old).is_some_and(|number| number != epochs.number()) {
            disk.write(&old, &[0; 32])?;
            disk.sync(&old)?;
            disk.remove(&old)?;
        }
    }
    disk.sync_dir("")
}
