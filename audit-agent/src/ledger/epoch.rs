//! Keys that sign records for a while and are then gone (forward security).
//!
//! In: 32 secret bytes. Out: one Ed25519 key for each epoch. Each epoch's secret comes from the one before by
//! HMAC-SHA256, which cannot be undone: whoever takes today's secret cannot sign for yesterday. `docs/ledger.md`
//! specifies it. Epoch 0 is the log key, which signs the first line only.

pub mod file;

use super::keys::LogKey;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Records that one epoch's key signs at most.
pub const RECORDS: u64 = 10_000;
/// How long one epoch lasts at most, by the records' own times.
pub const NANOS: u64 = 15 * 60 * 1_000_000_000;

/// The secret of one epoch. Not shown, erased when it advances and when dropped.
pub struct Epochs {
    origin: String,
    number: u64,
    secret: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Epochs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Epochs")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Epochs {
    /// Epoch `number` of the log `origin`.
    pub fn new(origin: &str, number: u64, secret: Zeroizing<[u8; 32]>) -> Self {
        Self {
            origin: origin.into(),
            number,
            secret,
        }
    }

    pub fn number(&self) -> u64 {
        self.number
    }

    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The key that signs the records of this epoch, called `<origin>/epoch/<number>`.
    pub fn key(&self) -> LogKey {
        let seed = derive(&self.secret, b"audit-agent/epoch-key/v1");
        LogKey::new(&key_name(&self.origin, self.number), &seed)
    }

    /// The epoch after this one.
    pub fn following(&self) -> Self {
        Self {
            origin: self.origin.clone(),
            number: self.number.saturating_add(1),
            secret: derive(&self.secret, b"audit-agent/epoch-next/v1"),
        }
    }

    /// Goes to the next epoch; the secret of this one is overwritten.
    pub fn advance(&mut self) {
        *self = self.following();
    }
}

/// Name of the key of epoch `number`.
pub fn key_name(origin: &str, number: u64) -> String {
    format!("{origin}/epoch/{number}")
}

/// HMAC-SHA256 of a label under the secret.
fn derive(secret: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    // HMAC takes keys of every length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) {
        mac.update(label);
        out.copy_from_slice(&mac.finalize().into_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> Epochs {
        Epochs::new("test.example/log", 1, [7; 32].into())
    }

    #[test]
    fn epochs_are_those_of_the_specification() {
        let ids: Vec<String> = std::iter::successors(Some(first()), |epochs| Some(epochs.following()))
            .take(3)
            .map(|epochs| epochs.key().verifier().to_string())
            .collect();
        let text = include_str!("../../../docs/ledger.md");
        for id in ids {
            assert!(text.contains(&id), "docs/ledger.md lacks the vector {id}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert_eq!(format!("{:?}", first()), "Epochs { number: 1, .. }");
    }
}
