//! The keys of a log: what signs, what hashes, and what everybody may know.
//!
//! In: a directory that only the agent may read. Out: [`LogKey`], [`Verifier`], the epoch's secret, the hash key. Keys are
//! made at first start, with mode 0600, and never shown. The public key is written beside them as a C2SP verifier key
//! (`<name>+<key id>+<base64>`, signed-note.md).

mod signing;

use super::disk::DirDisk;
use super::epoch::{self, Epochs};
use crate::record::hash::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};
use signing::Signing;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// What a key signs in C2SP signed notes: the text itself, or the text with a time (tlog-cosignature).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    Ed25519 = 1,
    Cosignature = 4,
}

/// Whether a signed note can have a key of this name.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

#[derive(Debug, Error)]
pub enum KeyError {
    #[error("cannot use the key file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the key file {path} has mode {mode:o}; others must not read it: run `chmod 600 {path}`")]
    Mode { path: PathBuf, mode: u32 },
    #[error(
        "the key file {path} holds {len} bytes instead of 32; restore it from a copy, or move it away to begin a new log"
    )]
    Length { path: PathBuf, len: usize },
    #[error("`{0}` is no name of a key; it must have no space and no `+`")]
    Name(String),
    #[error("no randomness to make a key from: {0}")]
    Randomness(io::Error),
    #[error("`{0}` is no verifier key; it looks like `name+1a2b3c4d+AX...`, and is in the file keys/log.pub")]
    Verifier(String),
}

/// Signs lines. Not shown, erased when dropped.
pub struct LogKey {
    name: String,
    /// What records call it.
    id: [u8; 4],
    key: Signing,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl LogKey {
    pub fn new(name: &str, seed: &[u8; 32]) -> Self {
        let key = Signing::new(seed);
        Self {
            name: name.into(),
            id: id(name, Kind::Ed25519, &key.public()),
            key,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    pub fn id_hex(&self) -> String {
        hex(&self.id())
    }

    pub fn verifier(&self) -> Verifier {
        Verifier {
            name: self.name.clone(),
            kind: Kind::Ed25519,
            key: self.key.public(),
        }
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message)
    }
}

/// Checks lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verifier {
    pub name: String,
    pub kind: Kind,
    key: VerifyingKey,
}

impl Verifier {
    /// SHA-256(name || 0x0A || type || key), the first 4 bytes.
    pub fn id(&self) -> [u8; 4] {
        id(&self.name, self.kind, &self.key)
    }

    pub fn id_hex(&self) -> String {
        hex(&self.id())
    }

    /// Whether the key itself is the same, whatever it is called.
    pub fn is_key_of(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// The same key as one that signs with a time.
    pub fn cosigner(mut self) -> Self {
        self.kind = Kind::Cosignature;
        self
    }

    /// Checks a signature of a note: the POSIX seconds of a cosignature, 0 for a plain one; None when it is not this key's.
    pub fn verify_note(&self, text: &str, signature: &[u8]) -> Option<u64> {
        match self.kind {
            Kind::Ed25519 => self
                .verify(text.as_bytes(), signature.try_into().ok()?)
                .then_some(0),
            Kind::Cosignature => {
                let (time, signature) = signature.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                let message = cosigned(text, time);
                self.verify(message.as_bytes(), signature.try_into().ok()?)
                    .then_some(time)
            }
        }
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key
            .verify_strict(message, &Signature::from_bytes(signature))
            .is_ok()
    }

    /// Whether all of these are this key's; much faster than one by one. Of false ones it does not say which.
    pub fn verify_all(&self, signed: &[(Vec<u8>, [u8; 64])]) -> bool {
        let messages: Vec<&[u8]> = signed.iter().map(|(message, _)| message.as_slice()).collect();
        let signatures: Vec<_> = signed
            .iter()
            .map(|(_, bytes)| Signature::from_bytes(bytes))
            .collect();
        let keys = vec![self.key; signed.len()];
        // What one by one is refused as weak is refused here by not being taken together.
        !self.key.is_weak() && ed25519_dalek::verify_batch(&messages, &signatures, &keys).is_ok()
    }

    /// Reads `<name>+<key id>+<base64>`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::Verifier(text.trim().chars().take(80).collect());
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, encoded) = (parts.next(), parts.next(), parts.next());
        let (Some(name), Some(id), Some(encoded)) = (name, id, encoded) else {
            return Err(wrong());
        };
        let bytes = STANDARD.decode(encoded).map_err(|_| wrong())?;
        let (kind, key) = match bytes.split_first() {
            Some((1, key)) => (Kind::Ed25519, key),
            Some((4, key)) => (Kind::Cosignature, key),
            _ => return Err(wrong()),
        };
        let key: [u8; 32] = key.try_into().map_err(|_| wrong())?;
        let verifier = Self {
            name: name.into(),
            kind,
            key: VerifyingKey::from_bytes(&key).map_err(|_| wrong())?,
        };
        if is_key_name(name) && verifier.id_hex() == id {
            Ok(verifier)
        } else {
            Err(wrong())
        }
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encoded = STANDARD.encode([&[self.kind as u8], self.key.as_bytes().as_slice()].concat());
        write!(f, "{}+{}+{encoded}", self.name, self.id_hex())
    }
}

fn id(name: &str, kind: Kind, key: &VerifyingKey) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind as u8])
        .chain_update(key.as_bytes())
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Name of the systemd credential that holds the log key's 32 bytes (`LoadCredentialEncrypted=` seals it to a TPM).
pub const CREDENTIAL: &str = "audit-agent.log-key";

/// What a cosigner signs (C2SP tlog-cosignature).
pub fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// What a key directory holds.
#[derive(Debug)]
pub struct Keys {
    pub log: LogKey,
    pub hash: Zeroizing<[u8; 32]>,
    pub epochs: Epochs,
    /// Where the secrets of later epochs go.
    pub disk: DirDisk,
}

impl Keys {
    /// Reads the keys in `dir` and the credential, if there is one, or makes them. A new log is called `name`; an old one keeps
    /// its name.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Self, KeyError> {
        Self::with_credential(dir, name, credential()?)
    }

    /// As [`Keys::load_or_create`], for who could not read the credential any more: it is whose account started the agent.
    pub fn with_credential(
        dir: &Path,
        name: &str,
        credential: Option<Zeroizing<[u8; 32]>>,
    ) -> Result<Self, KeyError> {
        let at = |path: &Path, source| KeyError::Io {
            path: path.into(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| at(dir, source))?;
        let seed = match credential {
            Some(seed) => seed,
            None => secret(&dir.join("log.key"))?,
        };
        let hash = secret(&dir.join("hash.key"))?;
        let public = dir.join("log.pub");
        let name = match std::fs::read_to_string(&public) {
            Ok(text) => Verifier::parse(&text)?.name,
            Err(_) => name.to_owned(),
        };
        let log = LogKey::new(&name, &seed);
        if !public.exists() {
            let text = format!("{}\n", log.verifier());
            std::fs::write(&public, text).map_err(|source| at(&public, source))?;
        }
        let mut disk = DirDisk::secret(dir);
        let epochs = first_epoch(&mut disk, &name).map_err(|source| at(dir, source))?;
        Ok(Self {
            log,
            hash,
            epochs,
            disk,
        })
    }
}

/// The key of the hashes alone, which must be there: for who looks a user up.
pub fn hash_key(dir: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    read(&dir.join("hash.key"))
}

/// Bits of a secret's mode that let others at it.
const FORBIDDEN: u32 = 0o077;
/// Where a unit has `User=`, systemd lets that account read by an access control list, whose mask is shown in the place of the
/// group's bits; the folder lets nobody else pass.
const CREDENTIAL_FORBIDDEN: u32 = 0o037;

/// The log key as a systemd credential, where the unit gives one.
///
/// # Errors
/// One that is there and cannot be read: a log that goes on with another key would be another log.
pub fn credential() -> Result<Option<Zeroizing<[u8; 32]>>, KeyError> {
    let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Ok(None);
    };
    let path = Path::new(&dir).join(CREDENTIAL);
    match path.try_exists() {
        Ok(true) => read_but_for(CREDENTIAL_FORBIDDEN, &path).map(Some),
        Ok(false) => Ok(None),
        Err(source) => Err(KeyError::Io { path, source }),
    }
}

fn first_epoch(disk: &mut DirDisk, origin: &str) -> io::Result<Epochs> {
    if let Some(epochs) = epoch::file::load(disk, origin)? {
        return Ok(epochs);
    }
    let mut secret = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")?.read_exact(secret.as_mut())?;
    let epochs = Epochs::new(origin, 1, secret);
    epoch::file::store(disk, &epochs)?;
    Ok(epochs)
}

/// The key of a witness in `dir`, made when it is not there; one that is there keeps its name.
pub fn witness_key(dir: &Path, name: &str) -> Result<LogKey, KeyError> {
    let at = |path: &Path, source| KeyError::Io {
        path: path.into(),
        source,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| at(dir, source))?;
    let seed = secret(&dir.join("witness.key"))?;
    let public = dir.join("witness.pub");
    let name = match std::fs::read_to_string(&public) {
        Ok(text) => Verifier::parse(&text)?.name,
        Err(_) => name.to_owned(),
    };
    if !is_key_name(&name) {
        return Err(KeyError::Name(name));
    }
    let key = LogKey::new(&name, &seed);
    let text = format!("{}\n", key.verifier().cosigner());
    std::fs::write(&public, text).map_err(|source| at(&public, source))?;
    Ok(key)
}

/// A file of 32 secret bytes, made when it is not there.
fn secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let at = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(file) => create(file).map_err(at),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        Err(error) => Err(at(error)),
    }
}

fn create(mut file: File) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")?.read_exact(key.as_mut())?;
    file.write_all(key.as_ref())?;
    file.sync_all()?;
    Ok(key)
}

fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    read_but_for(FORBIDDEN, path)
}

/// A secret of a mode that has none of the bits `forbidden`.
fn read_but_for(forbidden: u32, path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let at = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(at)?;
    let mode = file.metadata().map_err(at)?.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(KeyError::Mode {
            path: path.into(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.read_to_end(&mut bytes).map_err(at)?;
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| KeyError::Length {
        path: path.into(),
        len: bytes.len(),
    })?;
    Ok(Zeroizing::new(key))
}

#[cfg(test)]
mod tests;
