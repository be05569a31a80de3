//! Where frames begin, on a connection whose place is lost or which nobody knows yet.
//!
//! In: bytes from anywhere. Out: whether frames begin with them. Never: a judgement on less than two heads, one of which
//! leads to the other.

use super::frame::{Frame, HEAD, Kind};

/// Whether frames begin here: None when more bytes have to come to tell.
fn starts_frames(bytes: &[u8]) -> Option<bool> {
    let head = |at: usize| {
        let head = bytes.get(at..)?.first_chunk::<HEAD>()?;
        Some(Frame::parse(head))
    };
    // A believable length is below 64 KiB, so that text, which has no zeros, is told by its first byte.
    if bytes.first().is_some_and(|first| *first != 0) {
        return Some(false);
    }
    let first = head(0)?;
    if !first.believable() {
        return Some(false);
    }
    Some(head(HEAD + first.len as usize)?.believable())
}

/// Whether a server's first bytes are its settings: None when more have to come to tell.
pub fn begins_with_settings(bytes: &[u8]) -> Option<bool> {
    if bytes.first().is_some_and(|first| *first != 0) {
        return Some(false);
    }
    let frame = Frame::parse(bytes.first_chunk::<HEAD>()?);
    Some(frame.kind == Kind::Settings && frame.believable())
}

/// Where frames begin or may begin, and whether it is certain.
pub fn first_frames(bytes: &[u8]) -> (usize, bool) {
    let mut at = 0;
    loop {
        match starts_frames(bytes.get(at..).unwrap_or_default()) {
            Some(true) => return (at, true),
            Some(false) => at += 1,
            None => return (at, false),
        }
    }
}
