//! Keyed hashes of what records must not hold.
//!
//! In: prompts, completions, API keys, user names. Out: `hmac-sha256:<hex>`, or `sha256:<hex>` where the operator
//! chose it. A bare hash of a short text can be found by trying texts, so the key is the default; without the key the
//! values are random numbers to everybody.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What is hashed; the label keeps hashes of different things apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject {
    Prompt,
    Completion,
    Reasoning,
    ToolArguments,
    ApiKey,
    User,
    Session,
    Template,
    Body,
    Exchange,
}

impl Subject {
    fn label(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Completion => "completion",
            Self::Reasoning => "reasoning",
            Self::ToolArguments => "tool_arguments",
            Self::ApiKey => "api_key",
            Self::User => "user",
            Self::Session => "session",
            Self::Template => "template",
            Self::Body => "body",
            Self::Exchange => "exchange",
        }
    }
}

/// How prompts, completions and bodies are hashed. API keys, users and sessions always are by key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Algorithm {
    #[default]
    HmacSha256,
    Sha256,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Sha256 => "sha256",
        }
    }
}

/// Holds the key; it is erased when dropped and never shown.
pub struct Hasher {
    key: Zeroizing<[u8; 32]>,
    algorithm: Algorithm,
    salt_id: String,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hasher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Hasher {
    pub fn new(key: Zeroizing<[u8; 32]>, algorithm: Algorithm) -> Self {
        let digest = Sha256::new()
            .chain_update(b"audit-agent/salt-id/v1\n")
            .chain_update(*key)
            .finalize();
        Self {
            key,
            algorithm,
            salt_id: hex(digest.get(..8).unwrap_or_default()),
        }
    }

    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Names the key without telling it: the first 8 bytes of SHA-256 over a label and the key.
    pub fn salt_id(&self) -> &str {
        &self.salt_id
    }

    /// The hash of `data` as a `subject`.
    pub fn hash(&self, subject: Subject, data: &[u8]) -> String {
        let keyed = matches!(
            subject,
            Subject::ApiKey | Subject::User | Subject::Session | Subject::Exchange
        ) || self.algorithm == Algorithm::HmacSha256;
        if !keyed {
            return prefixed("sha256:", &Sha256::digest(data));
        }
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.key) else {
            return String::new();
        };
        mac.update(subject.label().as_bytes());
        mac.update(b"\n");
        mac.update(data);
        prefixed("hmac-sha256:", &mac.finalize().into_bytes())
    }

    /// A name for the call at a place that only this host knows: 32 hexadecimal digits, the same when it is asked again.
    pub fn exchange_id(&self, boot_id: &str, place: [u64; 5]) -> String {
        let mut data = boot_id.as_bytes().to_vec();
        data.push(b'\n');
        data.extend(place.iter().flat_map(|number| number.to_be_bytes()));
        let hash = self.hash(Subject::Exchange, &data);
        let digits = hash.rsplit(':').next().and_then(|digits| digits.get(..32));
        digits.unwrap_or_default().to_owned()
    }

    /// The hash of a body whose SHA-256 is known: bodies are too large to be held until their end.
    pub fn hash_of_digest(&self, digest: &[u8; 32]) -> String {
        match self.algorithm {
            Algorithm::Sha256 => prefixed("sha256:", digest),
            Algorithm::HmacSha256 => self.hash(Subject::Body, digest),
        }
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    prefixed("", bytes)
}

/// `prefix` and lower-case hexadecimal.
fn prefixed(prefix: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(*byte));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_keys_are_kept_apart() {
        let one = Hasher::new(Zeroizing::new([1; 32]), Algorithm::HmacSha256);
        let two = Hasher::new(Zeroizing::new([2; 32]), Algorithm::HmacSha256);
        assert_ne!(one.hash(Subject::User, b"a"), one.hash(Subject::ApiKey, b"a"));
        assert_ne!(one.hash(Subject::User, b"a"), two.hash(Subject::User, b"a"));
        assert_ne!(one.salt_id(), two.salt_id());
    }

    #[test]
    fn api_keys_are_never_hashed_without_the_key() {
        let plain = Hasher::new(Zeroizing::new([1; 32]), Algorithm::Sha256);
        assert!(plain.hash(Subject::ApiKey, b"k").starts_with("hmac-sha256:"));
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(plain.hash(Subject::Prompt, b"abc"), known);
    }

    #[test]
    fn the_key_is_not_shown() {
        let hasher = Hasher::new(Zeroizing::new([0xab; 32]), Algorithm::HmacSha256);
        assert!(!format!("{hasher:?}").contains("171"));
    }
}
