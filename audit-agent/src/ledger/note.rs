//! Signed notes (C2SP signed-note) and the checkpoints in them (C2SP tlog-checkpoint).
//!
//! In: text. Out: its parts, and which keys signed it. Never: a part that is not spelled as the specification says.

use super::keys::{LogKey, Verifier, cosigned, is_key_name};
use super::merkle::Hash;
use super::merkle::proof::Head;
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use thiserror::Error;

#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NoteError {
    #[error("not a signed note")]
    Malformed,
    #[error("a signed note, but not of a checkpoint")]
    NotACheckpoint,
    #[error("not signed by the log's key")]
    Unsigned,
    #[error("a signature with the log's key id that is not the log's")]
    Forged,
}

/// One signature line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NoteSignature {
    pub name: String,
    pub id: [u8; 4],
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// Reads `— <name> <base64>`.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let blob = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = blob.split_first_chunk::<4>()?;
        (is_key_name(name) && !bytes.is_empty()).then(|| Self {
            name: name.into(),
            id: *id,
            bytes: bytes.into(),
        })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [self.id.as_slice(), &self.bytes].concat();
        writeln!(f, "— {} {}", self.name, STANDARD.encode(blob))
    }
}

/// Text with the signatures over it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// With its last line end.
    pub text: String,
    pub signatures: Vec<NoteSignature>,
}

impl Note {
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let malformed = NoteError::Malformed;
        if note.len() > limits::NOTE_BYTES || note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(malformed);
        }
        // The text may hold empty lines; the signatures do not.
        let at = note.rfind("\n\n").ok_or(malformed)?;
        let (text, lines) = (note.get(..=at), note.get(at + 2..));
        let lines = lines
            .and_then(|lines| lines.strip_suffix('\n'))
            .ok_or(malformed)?;
        let signatures: Option<Vec<_>> = lines.split('\n').map(NoteSignature::parse).collect();
        Ok(Self {
            text: text.ok_or(malformed)?.into(),
            signatures: signatures.ok_or(malformed)?,
        })
    }

    pub fn sign(&mut self, key: &LogKey) {
        self.signatures.push(NoteSignature {
            name: key.name().into(),
            id: key.id(),
            bytes: key.sign(self.text.as_bytes()).to_vec(),
        });
    }

    /// Adds the signature of a witness, made at `time` (POSIX seconds).
    pub fn cosign(&mut self, key: &LogKey, time: u64) {
        let signature = key.sign(cosigned(&self.text, time).as_bytes());
        self.signatures.push(NoteSignature {
            name: key.name().into(),
            id: key.verifier().cosigner().id(),
            bytes: [time.to_be_bytes().as_slice(), &signature].concat(),
        });
    }

    /// When `key` signed: its cosignature's POSIX seconds, 0 for a plain signature.
    ///
    /// A signature with this key's name and id that is not this key's spoils the note, as the specification asks for.
    pub fn signed_by(&self, key: &Verifier) -> Result<u64, NoteError> {
        let mut found = Err(NoteError::Unsigned);
        for signature in &self.signatures {
            if signature.name == key.name && signature.id == key.id() {
                let time = key.verify_note(&self.text, &signature.bytes);
                found = Ok(time.ok_or(NoteError::Forged)?);
            }
        }
        found
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| signature.fmt(f))
    }
}

/// What a log commits to: its first `size` lines and the root over them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    pub origin: String,
    pub head: Head,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.head.size,
            STANDARD.encode(self.head.root)
        )
    }

    /// Signed by `key`.
    pub fn note(&self, key: &LogKey) -> Note {
        let mut note = Note {
            text: self.text(),
            signatures: Vec::new(),
        };
        note.sign(key);
        note
    }

    /// Reads the text of a note; extension lines are allowed and mean nothing here.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let wrong = NoteError::NotACheckpoint;
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next(), lines.next(), lines.next());
        let (Some(origin), Some(size), Some(root), Some(_)) = (origin, size, root, lines.next()) else {
            return Err(wrong);
        };
        let root = STANDARD
            .decode(root)
            .ok()
            .and_then(|root| Hash::try_from(root).ok());
        let value: u64 = size.parse().map_err(|_| wrong)?;
        if origin.is_empty() || value.to_string() != size {
            return Err(wrong);
        }
        let head = Head {
            size: value,
            root: root.ok_or(wrong)?,
        };
        Ok(Self {
            origin: origin.into(),
            head,
        })
    }

    /// Reads a note that has to be `log`'s.
    pub fn open(note: &str, log: &Verifier) -> Result<(Self, Note), NoteError> {
        let note = Note::parse(note)?;
        let checkpoint = Self::parse(&note.text)?;
        if checkpoint.origin != log.name {
            return Err(NoteError::Unsigned);
        }
        note.signed_by(log)?;
        Ok((checkpoint, note))
    }
}

#[cfg(test)]
mod tests;
