//! The keys of a log: what signs, what hashes, and what everybody may know.
//!
//! In: a directory that only the agent may read. Out: [`LogKey`], [`Verifier`], the epoch's secret, the hash key. Keys are
//! made at first start, with mode 0600, and never shown. The public key is written beside them as a C2SP verifier key
//! (`<name>+<key id>+<base64>`, signed-note.md).

use super::disk::DirDisk;
use super::epoch::{self, Epochs};
use crate::record::hash::hex;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
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
    key: SigningKey,
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
        Self {
            name: name.into(),
            key: SigningKey::from_bytes(seed),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> [u8; 4] {
        self.verifier().id()
    }

    pub fn id_hex(&self) -> String {
        hex(&self.id())
    }

    pub fn verifier(&self) -> Verifier {
        Verifier {
            name: self.name.clone(),
            kind: Kind::Ed25519,
            key: self.key.verifying_key(),
        }
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
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
        let digest = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', self.kind as u8])
            .chain_update(self.key.as_bytes())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    pub fn id_hex(&self) -> String {
        hex(&self.id())
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
    /// Reads the keys in `dir`, or makes them. A new log is called `name`; an old one keeps its name.
    pub fn load_or_create(dir: &Path, name: &str) -> Result<Self, KeyError> {
        let at = |path: &Path, source| KeyError::Io {
            path: path.into(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| at(dir, source))?;
        let seed = log_secret(dir)?;
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

/// The log key as a systemd credential where the unit gives one, else the file of the key directory.
fn log_secret(dir: &Path) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(CREDENTIAL));
    match credential.filter(|path| path.exists()) {
        Some(path) => read(&path),
        None => secret(&dir.join("log.key")),
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
    let at = |source| KeyError::Io {
        path: path.into(),
        source,
    };
    let mut file = File::open(path).map_err(at)?;
    let mode = file.metadata().map_err(at)?.mode() & 0o777;
    if mode & 0o077 != 0 {
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
