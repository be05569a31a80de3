//! Prompts and completions, kept apart from the log, encrypted to people who are not on this host.
//!
//! In: what an exchange said ([`draft::Draft`]) and its record. Out: an age file in a segment, and the record with its place.
//! Never: plaintext on the disk, a private key on the host, a record that names content that is not durable.
//!
//! ```text
//! Draft -> masked, cut -> object -> one age file for each user and commit -> tar segment -> record
//!                                    to the user's key, whose identity only the recipients can open
//! ```
//! `docs/adr/0010-content-store.md` says why, `docs/content.md` how to use it.

pub mod age;
pub mod dir;
pub mod draft;
pub mod reader;
pub mod request;
pub mod retention;
pub mod store;
pub mod tar;
pub mod user;

use serde::Deserialize;

/// What is kept of prompts and completions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not even hashes.
    None,
    /// Hashes in the record.
    #[default]
    Hash,
    /// Hashes, and the text with personal data masked.
    Redacted,
    /// Hashes, and the text as it was.
    Full,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hash => "hash",
            Self::Redacted => "redacted",
            Self::Full => "full",
        }
    }

    /// Whether text is stored.
    pub fn stores(self) -> bool {
        matches!(self, Self::Redacted | Self::Full)
    }
}
