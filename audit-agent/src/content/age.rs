//! The age file format, version 1 (C2SP age.md), with X25519 recipients: what `age -d` and `rage -d` read.
//!
//! In: plaintext, recipients, randomness; or a file and identities. Out: the other. Pure: randomness is an input.
//! Never: plaintext that was not authenticated, a panic on a hostile file.
//!
//! The `age` crate does the same and brings 106 more crates, twice what the agent has, among them pre-releases and a
//! framework for translations; it also draws its randomness itself. This is the part that the agent needs, on the same
//! primitives (docs/adr/0010-content-store.md). Tests hold it against another implementation in both directions.

mod bech32;
mod header;
mod keys;
mod payload;

pub use keys::{Identity, Recipient};

use sha2::Sha256;
use std::io::{self, Read};
use thiserror::Error;
use zeroize::Zeroizing;

#[derive(Debug, Error)]
pub enum AgeError {
    #[error("`{0}` is no recipient; it looks like `age1...`, and `audit-agent content keygen` prints one")]
    Recipient(String),
    #[error("line {line} of the identity file is no identity; it looks like `AGE-SECRET-KEY-1...`")]
    Identity { line: usize },
    #[error("the identity file holds no identity; `audit-agent content keygen` writes one")]
    NoIdentity,
    #[error("there is no recipient to encrypt to")]
    NoRecipient,
    #[error("no randomness: {0}")]
    Randomness(io::Error),
    #[error("this is no age file of version 1")]
    Format,
    #[error("none of the identities may read this; give the one whose recipient is in the configuration")]
    NotForUs,
    #[error("the file was changed after it was encrypted")]
    Forged,
    #[error("the file is cut off")]
    Truncated,
    #[error("the plaintext is too long to be encrypted")]
    TooLong,
}

/// Encrypts to all of `recipients`; any of their identities reads it.
pub fn encrypt(
    plaintext: &[u8],
    recipients: &[Recipient],
    random: &mut dyn Read,
) -> Result<Vec<u8>, AgeError> {
    if recipients.is_empty() {
        return Err(AgeError::NoRecipient);
    }
    let mut key = Zeroizing::new([0; 16]);
    let mut nonce = [0; payload::NONCE];
    random.read_exact(key.as_mut()).map_err(AgeError::Randomness)?;
    random.read_exact(&mut nonce).map_err(AgeError::Randomness)?;
    let mut file = header::write(&key, recipients, random)?;
    payload::write(&key, nonce, plaintext, &mut file)?;
    Ok(file)
}

/// Decrypts with the first of `identities` that may.
pub fn decrypt(file: &[u8], identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, AgeError> {
    let (key, rest) = header::read(file, identities)?;
    payload::read(&key, rest).map(Zeroizing::new)
}

/// HKDF-SHA-256 with 32 bytes of output.
fn hkdf(ikm: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let kdf = hkdf::Hkdf::<Sha256>::new(Some(salt), ikm);
    // 32 bytes are below HKDF's limit of 8,160.
    let _ = kdf.expand(info, key.as_mut());
    key
}

#[cfg(test)]
mod tests;
