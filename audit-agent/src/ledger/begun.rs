//! Whether the keys have signed a log before.
//!
//! In: the key directory. Out: SHA-256 of line 0 of the log that was begun with them. An empty log directory beside keys that
//! have begun one is a log that is gone, and the next one has to say so. Never: a guard against who can write the keys too;
//! line 0's hash kept off the host is.

use super::disk::{Disk, Read};
use super::line::claim;
use super::source::Files;
use super::store::KEPT;
use crate::record::hash::hex;
use sha2::{Digest, Sha256};
use std::io;

/// In the key directory.
const NAME: &str = "log.first";

/// What is said where the hash itself is not known.
const UNKNOWN: &str = "unknown";

/// SHA-256 of a line, in hex.
pub fn hash(line: &[u8]) -> String {
    hex(&Sha256::digest(line))
}

/// Line 0 of the log that was begun with these keys; None when none was.
pub fn read(keys: &impl Read) -> io::Result<Option<String>> {
    let Some(bytes) = keys.read(NAME)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let hash = text.trim();
    let whole = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    Ok(Some(if whole { hash } else { UNKNOWN }.to_owned()))
}

/// Remembers line 0, which is durable.
pub fn write(keys: &mut impl Disk, first_line: &str) -> io::Result<()> {
    keys.replace(NAME, format!("{first_line}\n").as_bytes())
}

/// Line 0 of the log on `disk`: it is an `epoch` record, so a copy stays when its segment goes.
pub fn of(disk: &impl Read) -> io::Result<String> {
    if let Some(line) = Files::new(disk).line(0)? {
        return Ok(hash(&line));
    }
    let kept = disk.read(KEPT)?.unwrap_or_default();
    let mut lines = kept.split(|byte| *byte == b'\n');
    let first = lines.find(|line| claim(line).is_ok_and(|claim| claim.seq == 0));
    Ok(first.map_or_else(|| UNKNOWN.to_owned(), hash))
}

#[cfg(test)]
mod tests;
