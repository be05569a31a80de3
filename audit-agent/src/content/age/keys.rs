//! Who may read: X25519 recipients and identities.
//!
//! In: the texts `age1...` and `AGE-SECRET-KEY-1...`. Out: [`Recipient`], [`Identity`]. Never: an identity in Debug output;
//! a recipient that is no use (a point of small order).

use super::{AgeError, bech32};
use std::io::Read;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

const RECIPIENT: &str = "age";
const IDENTITY: &str = "age-secret-key-";

/// A public key; what is encrypted to it only its [`Identity`] reads.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Recipient(pub(super) [u8; 32]);

impl std::str::FromStr for Recipient {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let wrong = || AgeError::Recipient(text.chars().take(80).collect());
        let (hrp, bytes) = bech32::decode(text).ok_or_else(wrong)?;
        let key: [u8; 32] = bytes.try_into().map_err(|_| wrong())?;
        let shared = StaticSecret::from([1; 32]).diffie_hellman(&PublicKey::from(key));
        let upper = text.bytes().any(|byte| byte.is_ascii_uppercase());
        if hrp != RECIPIENT || upper || !shared.was_contributory() {
            return Err(wrong());
        }
        Ok(Self(key))
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&bech32::encode(RECIPIENT, &self.0))
    }
}

/// A private key. Not shown, erased when dropped.
pub struct Identity(pub(super) StaticSecret);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one from 32 bytes of `random`.
    pub fn generate(random: &mut dyn Read) -> Result<Self, AgeError> {
        let mut key = Zeroizing::new([0; 32]);
        random.read_exact(key.as_mut()).map_err(AgeError::Randomness)?;
        Ok(Self(StaticSecret::from(*key)))
    }

    pub fn recipient(&self) -> Recipient {
        Recipient(PublicKey::from(&self.0).to_bytes())
    }

    /// `AGE-SECRET-KEY-1...`
    pub fn to_text(&self) -> Zeroizing<String> {
        let lower = Zeroizing::new(bech32::encode(IDENTITY, self.0.as_bytes()));
        Zeroizing::new(lower.to_ascii_uppercase())
    }

    fn parse(line: &str) -> Option<Self> {
        let (hrp, bytes) = bech32::decode(line)?;
        let bytes = Zeroizing::new(bytes);
        let key: [u8; 32] = bytes.as_slice().try_into().ok()?;
        (hrp == IDENTITY && line.starts_with("AGE")).then(|| Self(StaticSecret::from(key)))
    }

    /// The identities of a file as `age-keygen` writes it: one on a line, `#` begins a comment.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim).enumerate();
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = keys
            .map(|(at, line)| Self::parse(line).ok_or(AgeError::Identity { line: at + 1 }))
            .collect();
        let keys = keys?;
        if keys.is_empty() {
            return Err(AgeError::NoIdentity);
        }
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the age specification (C2SP age.md, "The X25519 recipient type").
    const SECRET: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
    const PUBLIC: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    #[test]
    fn the_example_of_the_specification() {
        let identity = Identity::parse_file(SECRET).unwrap().remove(0);
        assert_eq!(identity.recipient().to_string(), PUBLIC);
        assert_eq!(identity.recipient(), PUBLIC.parse().unwrap());
        assert_eq!(identity.to_text().as_str(), SECRET);
        assert!(!format!("{identity:?}").contains("66"));
    }

    #[test]
    fn a_file_of_age_keygen_is_read_and_a_wrong_line_is_named_without_its_text() {
        let file = format!("# created: 2026-11-21T08:00:00Z\n# public key: {PUBLIC}\n{SECRET}\n");
        assert_eq!(Identity::parse_file(&file).unwrap().len(), 1);
        let error = Identity::parse_file("# x\nAGE-SECRET-KEY-1WRONG\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 2") && !error.contains("WRONG"), "{error}");
        assert!(matches!(
            Identity::parse_file("# nothing\n"),
            Err(AgeError::NoIdentity)
        ));
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        let small_order = bech32::encode("age", &[0; 32]);
        for text in [
            "",
            "age1",
            SECRET,
            &PUBLIC.to_ascii_uppercase(),
            &small_order,
            "ssh-ed25519 AAAA",
        ] {
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
    }
}
