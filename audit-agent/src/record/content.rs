//! What records say of stored content: where it is, what was done with it. Never the content itself.

use serde::Serialize;
use std::collections::BTreeMap;

/// The content of an inference, in its record. `docs/content.md` says how it is read.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Content {
    /// Keyed hash of the stored object; None when nothing was stored.
    pub address: Option<String>,
    pub completion: Option<Part>,
    /// The segment, and the age file in it.
    pub file: Option<String>,
    /// Which of the user's keys it was encrypted to.
    pub key_id: Option<String>,
    /// Masks by kind, in mode `redacted`.
    pub masked: BTreeMap<String, u64>,
    pub member: Option<String>,
    /// `redacted`, `full`.
    pub mode: String,
    pub prompt: Option<Part>,
    /// `stored`, `lost`, `refused`, `empty`.
    pub state: String,
}

impl Content {
    /// Nothing was stored after all.
    pub fn nothing(&mut self, state: &str) {
        self.state = state.into();
        (self.address, self.key_id) = (None, None);
        for part in [&mut self.prompt, &mut self.completion].into_iter().flatten() {
            part.bytes = 0;
        }
    }
}

/// A prompt or a completion.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Part {
    /// Stored.
    pub bytes: u64,
    /// Bytes of its message that were never seen.
    pub missed_bytes: u64,
    /// Of how many; None when the rest is not known.
    pub of_bytes: Option<u64>,
    /// `whole`, `cut` (longer than the configured most), `part` (not seen or not read whole).
    pub state: String,
}

/// Somebody reads stored content on this host.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Access {
    pub content_seq: u64,
    /// As the reader's process was told at login; None when it had none.
    pub login_uid: Option<u64>,
    /// The recipient whose identity is used.
    pub reader: String,
    /// Owner of the request, as the kernel says it.
    pub uid: u64,
}

/// A user's salt and keys are destroyed behind this record.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Erasure {
    pub key_ids: Vec<String>,
    pub login_uid: Option<u64>,
    pub salt_id: String,
    pub uid: u64,
    /// As earlier records have it; nobody can compute it from a name any more.
    pub user_id: String,
}
