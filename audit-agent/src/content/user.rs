//! The keys of one user: what makes its pseudonyms, and what its content is encrypted to.
//!
//! In: randomness, recipients. Out: [`User`], which the host keeps, and a wrapped identity that only the recipients open.
//! Pure. Never: the identity itself beyond the call that wraps it: the host encrypts and cannot decrypt.
//!
//! Both gone is the erasure of the user: nobody reads the content or computes the pseudonyms any more.

use super::age::{self, AgeError, Identity, Recipient};
use crate::record::hash::{Algorithm, Hasher, hex};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::Read;
use zeroize::{Zeroize, Zeroizing};

/// What the host keeps of a user. Not shown, erased when dropped.
pub struct User {
    salt: Zeroizing<[u8; 32]>,
    keys: Vec<Key>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// A key that content was encrypted to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Key {
    pub id: String,
    recipient: String,
    /// Which recipients may open its identity.
    readers: String,
}

#[derive(Deserialize, Serialize)]
struct File {
    keys: Vec<Key>,
    salt: String,
}

/// A new key: the identity behind it, encrypted to the recipients.
#[derive(Debug)]
pub struct Wrapped {
    pub id: String,
    pub file: Vec<u8>,
}

/// Names a set of recipients: another set needs another key.
pub fn readers(recipients: &[Recipient]) -> String {
    let mut texts: Vec<String> = recipients.iter().map(Recipient::to_string).collect();
    texts.sort();
    let digest = Sha256::digest(texts.join("\n"));
    hex(digest.get(..8).unwrap_or_default())
}

impl User {
    pub fn generate(random: &mut dyn Read) -> Result<Self, AgeError> {
        let mut salt = Zeroizing::new([0; 32]);
        random.read_exact(salt.as_mut()).map_err(AgeError::Randomness)?;
        Ok(Self {
            salt,
            keys: Vec::new(),
        })
    }

    /// One whose salt is thrown away. Without randomness it is a salt of zeros over hashes that are keyed all the same.
    pub fn passing(random: &mut dyn Read) -> Self {
        Self::generate(random).unwrap_or_else(|_| Self {
            salt: Zeroizing::new([0; 32]),
            keys: Vec::new(),
        })
    }

    /// The key for these recipients.
    pub fn key(&self, readers: &str) -> Option<(&Key, Recipient)> {
        let key = self.keys.iter().rev().find(|key| key.readers == readers)?;
        Some((key, key.recipient.parse().ok()?))
    }

    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Makes a key whose identity only `recipients` open.
    ///
    /// The wrapped text is an identity file: the key of the addresses in a comment, the identity in a line.
    pub fn add_key(&mut self, recipients: &[Recipient], random: &mut dyn Read) -> Result<Wrapped, AgeError> {
        let identity = Identity::generate(random)?;
        let mut id = [0; 8];
        random.read_exact(&mut id).map_err(AgeError::Randomness)?;
        let id = hex(&id);
        let address = Zeroizing::new(hex(self.address_key().as_slice()));
        let text = Zeroizing::new(format!(
            "# key of a user of audit-agent: {id}\n# address key: {}\n{}\n",
            *address,
            *identity.to_text()
        ));
        let file = age::encrypt(text.as_bytes(), recipients, random)?;
        self.keys.push(Key {
            id: id.clone(),
            recipient: identity.recipient().to_string(),
            readers: readers(recipients),
        });
        Ok(Wrapped { id, file })
    }

    pub fn salt_id(&self) -> String {
        Hasher::new(self.salt.clone(), Algorithm::HmacSha256)
            .salt_id()
            .to_owned()
    }

    /// The user's own form of a keyed hash: HMAC-SHA256 by the salt over its text.
    pub fn pseudonym(&self, hash: &str) -> String {
        format!(
            "hmac-sha256:{}",
            hex(&mac(self.salt.as_slice(), &[b"pseudonym\n", hash.as_bytes()]))
        )
    }

    /// What records call the user whose file is `tag`.
    pub fn logged_as(&self, tag: &str) -> String {
        match tag.strip_prefix("uid-") {
            Some(number) => format!("uid:{number}"),
            None if tag == "none" => tag.into(),
            None => self.pseudonym(&format!("hmac-sha256:{tag}")),
        }
    }

    fn address_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(self.salt.as_slice(), &[b"address key\n"]))
    }

    /// The address of an object.
    pub fn address(&self, object: &[u8]) -> String {
        address(self.address_key().as_slice(), object)
    }

    /// The text that the host keeps.
    pub fn to_text(&self) -> Zeroizing<String> {
        let salt = hex(self.salt.as_slice());
        let mut file = File {
            keys: self.keys.clone(),
            salt,
        };
        let text = serde_json::to_string(&file).unwrap_or_default();
        file.salt.zeroize();
        Zeroizing::new(text)
    }

    pub fn parse(text: &str) -> Option<Self> {
        let mut file: File = serde_json::from_str(text).ok()?;
        let salt = unhex(&file.salt);
        file.salt.zeroize();
        Some(Self {
            salt: salt?,
            keys: file.keys,
        })
    }
}

/// HMAC-SHA256 over a label and an object.
pub fn address(key: &[u8], object: &[u8]) -> String {
    format!(
        "hmac-sha256:{}",
        hex(&mac(key, &[b"audit-agent/content/v1\n", object]))
    )
}

/// The key of the addresses, from an unwrapped identity file.
pub fn address_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    unhex(
        text.lines()
            .find_map(|line| line.strip_prefix("# address key: "))?,
    )
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        // HMAC takes a key of any length.
        return [0; 32];
    };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random() -> impl Read {
        std::io::Cursor::new((0..4096u32).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>())
    }

    #[test]
    fn only_the_recipients_open_the_identity_and_it_opens_what_is_encrypted_to_the_key() {
        let mut random = random();
        let reader = Identity::generate(&mut random).unwrap();
        let mut user = User::generate(&mut random).unwrap();
        let to = [reader.recipient()];
        let wrapped = user.add_key(&to, &mut random).unwrap();
        let (key, recipient) = user.key(&readers(&to)).unwrap();
        assert_eq!(key.id, wrapped.id);
        let sealed = age::encrypt(b"hello", &[recipient], &mut random).unwrap();
        let opened = age::decrypt(&wrapped.file, &[reader]).unwrap();
        let text = std::str::from_utf8(&opened).unwrap();
        let identities = Identity::parse_file(text).unwrap();
        assert_eq!(age::decrypt(&sealed, &identities).unwrap().as_slice(), b"hello");
        let key = address_key(text).unwrap();
        assert_eq!(address(key.as_slice(), b"hello"), user.address(b"hello"));
        // What the host keeps opens nothing.
        assert!(Identity::parse_file(&user.to_text()).is_err());
    }

    #[test]
    fn a_user_is_the_same_after_it_was_kept_and_another_after_it_was_erased() {
        let mut random = random();
        let user = User::generate(&mut random).unwrap();
        let kept = User::parse(&user.to_text()).unwrap();
        assert_eq!(kept.pseudonym("x"), user.pseudonym("x"));
        assert_eq!(kept.salt_id(), user.salt_id());
        let new = User::generate(&mut random).unwrap();
        assert_ne!(new.pseudonym("x"), user.pseudonym("x"));
        assert_ne!(new.address(b"x"), user.address(b"x"));
        assert!(User::parse("{\"keys\":[],\"salt\":\"00\"}").is_none());
        let salt = hex(user.salt.as_slice());
        assert!(!format!("{user:?}").contains(&salt));
    }

    #[test]
    fn other_recipients_need_another_key() {
        let mut random = random();
        let one = [Identity::generate(&mut random).unwrap().recipient()];
        let two = [one[0], Identity::generate(&mut random).unwrap().recipient()];
        let mut user = User::generate(&mut random).unwrap();
        user.add_key(&one, &mut random).unwrap();
        assert!(user.key(&readers(&two)).is_none());
        assert_eq!(readers(&two), readers(&[two[1], two[0]]));
    }
}
