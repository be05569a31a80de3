//! The payload of an age file: chunks of 64 KiB under ChaCha20-Poly1305, in an order that cannot be changed or cut.
//!
//! In: a file key and plaintext, or a payload. Out: the other. Never: plaintext that was not authenticated.

use super::header::FileKey;
use super::{AgeError, hkdf};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce, Tag};

const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;
pub const NONCE: usize = 16;

/// Appends the payload of `plaintext` to `out`. The nonce must be new for each file.
pub fn write(key: &FileKey, nonce: [u8; NONCE], plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), AgeError> {
    let cipher = cipher(key, &nonce);
    out.reserve(NONCE + plaintext.len() + (plaintext.len() / CHUNK + 1) * TAG);
    out.extend(nonce);
    let last = plaintext.len().div_ceil(CHUNK).saturating_sub(1);
    let mut chunks = plaintext.chunks(CHUNK);
    for number in 0..=last {
        let from = out.len();
        out.extend(chunks.next().unwrap_or_default());
        let chunk = out.get_mut(from..).unwrap_or_default();
        let tag = cipher
            .encrypt_in_place_detached(&counter(number, number == last), b"", chunk)
            .map_err(|_| AgeError::TooLong)?;
        out.extend(tag);
    }
    Ok(())
}

/// The plaintext of a payload.
pub fn read(key: &FileKey, payload: &[u8]) -> Result<Vec<u8>, AgeError> {
    let (nonce, sealed) = payload.split_at_checked(NONCE).ok_or(AgeError::Truncated)?;
    let cipher = cipher(key, nonce);
    let last = sealed.len().div_ceil(CHUNK + TAG).saturating_sub(1);
    let mut plaintext = Vec::with_capacity(sealed.len());
    let mut chunks = sealed.chunks(CHUNK + TAG);
    for number in 0..=last {
        let chunk = chunks.next().unwrap_or_default();
        let length = chunk.len().checked_sub(TAG).ok_or(AgeError::Truncated)?;
        // Only a file of nothing ends in an empty chunk.
        if length == 0 && number > 0 {
            return Err(AgeError::Forged);
        }
        let (data, tag) = chunk.split_at(length);
        let from = plaintext.len();
        plaintext.extend(data);
        let opened = plaintext.get_mut(from..).unwrap_or_default();
        cipher
            .decrypt_in_place_detached(
                &counter(number, number == last),
                b"",
                opened,
                Tag::from_slice(tag),
            )
            .map_err(|_| AgeError::Forged)?;
    }
    Ok(plaintext)
}

fn cipher(key: &FileKey, nonce: &[u8]) -> ChaCha20Poly1305 {
    let key = hkdf(key.as_slice(), nonce, b"payload");
    ChaCha20Poly1305::new(Key::from_slice(key.as_slice()))
}

/// 11 bytes of chunk number, big endian, and whether it is the last.
fn counter(number: usize, last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
    nonce[11] = u8::from(last);
    nonce.into()
}
