//! Ed25519 signatures (RFC 8032), by the fastest code that runs on this processor.
//!
//! In: a seed, messages. Out: signatures, which are the same whichever code makes them: RFC 8032 leaves nothing to chance. Never: the
//! check of a signature, which is ed25519-dalek's alone.

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

/// A secret key; erased when dropped.
pub struct Signing {
    public: VerifyingKey,
    secret: Secret,
}

enum Secret {
    /// Assembly of s2n-bignum, whose functions are proved correct and have no branch and no address that depends on a secret, as
    /// graviola took it over: less than half of the time. It wants AVX2 and ADX, or the like of other processors.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    Assembly(Box<graviola::signing::eddsa::Ed25519SigningKey>),
    Portable(Box<SigningKey>),
}

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl Signing {
    /// From the 32 bytes that RFC 8032 calls the private key.
    pub fn new(seed: &[u8; 32]) -> Self {
        let portable = SigningKey::from_bytes(seed);
        let public = portable.verifying_key();
        let secret = assembly(seed, &public).unwrap_or_else(|| Secret::Portable(Box::new(portable)));
        Self { public, secret }
    }

    pub fn public(&self) -> VerifyingKey {
        self.public
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        match &self.secret {
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            Secret::Assembly(key) => key.sign(message),
            Secret::Portable(key) => key.sign(message).to_bytes(),
        }
    }
}

/// The key for the assembly; None where this processor cannot run it, or it came to another public key.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn assembly(seed: &[u8; 32], public: &VerifyingKey) -> Option<Secret> {
    use graviola::signing::eddsa::Ed25519SigningKey;
    // Without this question it would panic on old processors.
    let key = graviola::util::is_cpu_supported().then(|| Ed25519SigningKey::from_bytes(seed))?;
    let key = key
        .ok()
        .filter(|key| key.public_key().as_bytes() == *public.as_bytes())?;
    Some(Secret::Assembly(Box::new(key)))
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn assembly(_: &[u8; 32], _: &VerifyingKey) -> Option<Secret> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8032 section 7.1, test 3.
    #[test]
    fn signs_as_the_specification_does() {
        let seed = "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7";
        let seed: Vec<u8> = (0..32)
            .map(|at| u8::from_str_radix(&seed[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let key = Signing::new(&seed.try_into().unwrap());
        let signature = crate::record::hash::hex(&key.sign(&[0xaf, 0x82]));
        let expected = "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
                        18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a";
        assert_eq!(signature, expected);
    }

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn the_assembly_signs_where_the_processor_can_run_it() {
        let assembly = matches!(Signing::new(&[7; 32]).secret, Secret::Assembly(_));
        assert_eq!(assembly, graviola::util::is_cpu_supported());
    }

    #[test]
    fn a_key_that_the_assembly_takes_for_another_is_not_used() {
        let other = SigningKey::from_bytes(&[8; 32]).verifying_key();
        assert!(assembly(&[7; 32], &other).is_none());
    }

    #[test]
    fn the_secret_is_not_shown() {
        let shown = format!("{:?}", Signing::new(&[0xab; 32]));
        assert!(shown.contains("Signing") && !shown.contains("171, 171"));
    }

    proptest! {
        #[test]
        fn both_ways_give_the_same_signature(seed: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..600)) {
            let (key, portable) = (Signing::new(&seed), SigningKey::from_bytes(&seed));
            prop_assert_eq!(key.sign(&message), portable.sign(&message).to_bytes());
            prop_assert_eq!(key.public(), portable.verifying_key());
        }
    }
}
