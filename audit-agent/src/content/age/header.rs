//! The header of an age file: the file key, wrapped for each recipient.
//!
//! In: a file key and recipients, or a header and identities. Out: the other. Never: a file key that was not
//! authenticated by the header's MAC.

use super::keys::{Identity, Recipient};
use super::{AgeError, hkdf};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::io::Read;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1\n";
const COLUMNS: usize = 64;
/// Longest header that is read; one with 20 recipients takes 2 KiB.
const HEADER_BYTES: usize = 64 * 1024;

pub type FileKey = Zeroizing<[u8; 16]>;

/// The header that wraps `key` for `recipients`.
pub fn write(key: &FileKey, recipients: &[Recipient], random: &mut dyn Read) -> Result<Vec<u8>, AgeError> {
    let mut header = String::from(VERSION);
    for recipient in recipients {
        let mut secret = Zeroizing::new([0; 32]);
        random.read_exact(secret.as_mut()).map_err(AgeError::Randomness)?;
        let secret = StaticSecret::from(*secret);
        let share = PublicKey::from(&secret).to_bytes();
        let shared = secret.diffie_hellman(&PublicKey::from(recipient.0));
        let body = wrapping(&shared, &share, recipient)
            .encrypt(&Nonce::default(), key.as_slice())
            .map_err(|_| AgeError::TooLong)?;
        header += &format!("-> X25519 {}\n{}\n", BASE64.encode(share), BASE64.encode(body));
    }
    header += "---";
    let mac = mac(key, header.as_bytes())?.finalize().into_bytes();
    Ok(format!("{header} {}\n", BASE64.encode(mac)).into_bytes())
}

/// The file key, and what follows the header.
pub fn read<'a>(file: &'a [u8], identities: &[Identity]) -> Result<(FileKey, &'a [u8]), AgeError> {
    let mut rest = file.strip_prefix(VERSION.as_bytes()).ok_or(AgeError::Format)?;
    let mut found = None;
    while let Some(stanza) = Stanza::read(&mut rest)? {
        for identity in identities {
            if found.is_none() {
                found = stanza.unwrap(identity)?;
            }
        }
        if file.len() - rest.len() > HEADER_BYTES {
            return Err(AgeError::Format);
        }
    }
    let authenticated = file.len() - rest.len() + "---".len();
    let end = line(&mut rest)?.strip_prefix("--- ").ok_or(AgeError::Format)?;
    let expected = BASE64.decode(end).map_err(|_| AgeError::Format)?;
    let key = found.ok_or(AgeError::NotForUs)?;
    let header = file.get(..authenticated).unwrap_or_default();
    mac(&key, header)?
        .verify_slice(&expected)
        .map_err(|_| AgeError::Forged)?;
    Ok((key, rest))
}

struct Stanza<'a> {
    arguments: Vec<&'a str>,
    body: Vec<u8>,
}

impl<'a> Stanza<'a> {
    /// The next stanza, or None before the header's last line.
    fn read(rest: &mut &'a [u8]) -> Result<Option<Self>, AgeError> {
        if !rest.starts_with(b"-> ") {
            return Ok(None);
        }
        let arguments = line(rest)?.strip_prefix("-> ").unwrap_or_default();
        let arguments: Vec<_> = arguments.split(' ').collect();
        if arguments.iter().any(|argument| argument.is_empty()) {
            return Err(AgeError::Format);
        }
        let mut body = String::new();
        loop {
            let part = line(rest)?;
            body += part;
            if part.len() > COLUMNS || body.len() > HEADER_BYTES {
                return Err(AgeError::Format);
            }
            if part.len() < COLUMNS {
                break;
            }
        }
        let body = BASE64.decode(body).map_err(|_| AgeError::Format)?;
        Ok(Some(Self { arguments, body }))
    }

    /// The file key, when the stanza is for `identity`.
    fn unwrap(&self, identity: &Identity) -> Result<Option<FileKey>, AgeError> {
        let [kind, share] = self.arguments.as_slice() else {
            return Ok(None);
        };
        if *kind != "X25519" {
            return Ok(None);
        }
        let share = BASE64.decode(share).map_err(|_| AgeError::Format)?;
        let share: [u8; 32] = share.try_into().map_err(|_| AgeError::Format)?;
        // A body of another length could be made to open under several keys.
        if self.body.len() != 32 {
            return Err(AgeError::Format);
        }
        let shared = identity.0.diffie_hellman(&PublicKey::from(share));
        if !shared.was_contributory() {
            return Err(AgeError::Forged);
        }
        let opened =
            wrapping(&shared, &share, &identity.recipient()).decrypt(&Nonce::default(), self.body.as_slice());
        let opened = opened.ok().map(Zeroizing::new);
        Ok(opened.and_then(|key| Some(Zeroizing::new(<[u8; 16]>::try_from(key.as_slice()).ok()?))))
    }
}

fn wrapping(shared: &SharedSecret, share: &[u8; 32], recipient: &Recipient) -> ChaCha20Poly1305 {
    let salt = [share.as_slice(), &recipient.0].concat();
    let key = hkdf(shared.as_bytes(), &salt, b"age-encryption.org/v1/X25519");
    ChaCha20Poly1305::new(Key::from_slice(key.as_slice()))
}

fn mac(key: &FileKey, header: &[u8]) -> Result<Hmac<Sha256>, AgeError> {
    let key = hkdf(key.as_slice(), &[], b"header");
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(key.as_slice());
    // HMAC takes a key of any length.
    let mut mac = mac.map_err(|_| AgeError::TooLong)?;
    mac.update(header);
    Ok(mac)
}

/// The next line, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a str, AgeError> {
    let end = rest.iter().take(HEADER_BYTES).position(|byte| *byte == b'\n');
    let (line, after) = rest
        .split_at_checked(end.ok_or(AgeError::Format)?)
        .ok_or(AgeError::Format)?;
    *rest = after.get(1..).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| AgeError::Format)?;
    let visible = line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if visible { Ok(line) } else { Err(AgeError::Format) }
}
