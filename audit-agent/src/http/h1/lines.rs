//! Lines of HTTP/1: where a head ends, how long a chunk is.
//!
//! In: bytes, untrusted. Out: places and sizes. Never: state.

/// The end of a head in `bytes`: behind an empty line that ends at or after `from`.
pub fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(next) = bytes.get(at..)?.iter().position(|byte| *byte == b'\n') {
        let line_end = at + next + 1;
        match bytes.get(line_end..)? {
            [b'\n', ..] => return Some(line_end + 1),
            [b'\r', b'\n', ..] => return Some(line_end + 2),
            _ => at = line_end,
        }
    }
    None
}

/// The size in a chunk line, without its extensions (RFC 9112 section 7.1).
pub fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    if digits.is_empty() || digits.len() > 15 {
        return None;
    }
    digits.iter().try_fold(0, |size: u64, byte| {
        let digit = char::from(*byte).to_digit(16)?;
        Some(size << 4 | u64::from(digit))
    })
}
