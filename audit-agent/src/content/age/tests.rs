use super::*;
use proptest::prelude::*;

/// Different bytes with each read, the same in each test.
struct Counter(u8);

impl Read for Counter {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for byte in buffer.iter_mut() {
            self.0 = self.0.wrapping_mul(5).wrapping_add(113);
            *byte = self.0;
        }
        Ok(buffer.len())
    }
}

fn identity(seed: u8) -> Identity {
    Identity::generate(&mut Counter(seed)).unwrap()
}

#[test]
fn every_recipient_reads_it_and_nobody_else() {
    let (one, two, other) = (identity(1), identity(2), identity(3));
    let file = encrypt(b"text", &[one.recipient(), two.recipient()], &mut Counter(9)).unwrap();
    assert_eq!(decrypt(&file, &[one]).unwrap().as_slice(), b"text");
    assert!(matches!(decrypt(&file, &[other]), Err(AgeError::NotForUs)));
    let third = identity(4);
    assert_eq!(decrypt(&file, &[third, two]).unwrap().as_slice(), b"text");
}

#[test]
fn nothing_is_encrypted_to_nobody_or_without_randomness() {
    assert!(matches!(
        encrypt(b"", &[], &mut Counter(1)),
        Err(AgeError::NoRecipient)
    ));
    let to = [identity(1).recipient()];
    assert!(matches!(
        encrypt(b"", &to, &mut io::empty()),
        Err(AgeError::Randomness(_))
    ));
}

#[test]
fn chunk_ends_are_no_problem() {
    let reader = [identity(1)];
    let to = [reader[0].recipient()];
    for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let text = vec![7; length];
        let file = encrypt(&text, &to, &mut Counter(2)).unwrap();
        assert_eq!(decrypt(&file, &reader).unwrap().as_slice(), text, "{length}");
        assert!(decrypt(&file[..file.len() - 1], &reader).is_err());
    }
}

#[test]
fn a_stanza_of_another_kind_is_passed_over() {
    let reader = identity(1);
    let file = encrypt(b"text", &[reader.recipient()], &mut Counter(2)).unwrap();
    let at = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut strange = file[..at].to_vec();
    strange.extend(b"-> other one two three\n\n");
    strange.extend(&file[at..]);
    // It is parsed; but the MAC covers the header, so that a stanza cannot be put in afterwards.
    assert!(matches!(decrypt(&strange, &[reader]), Err(AgeError::Forged)));
}

proptest! {
    #[test]
    fn any_change_is_found(text in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let reader = identity(1);
        let mut file = encrypt(&text, &[reader.recipient()], &mut Counter(3)).unwrap();
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        prop_assert!(decrypt(&file, &[reader]).is_err());
    }

    #[test]
    fn a_part_of_a_file_is_no_file(text in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>()) {
        let reader = identity(1);
        let file = encrypt(&text, &[reader.recipient()], &mut Counter(3)).unwrap();
        prop_assert!(decrypt(&file[..at.index(file.len())], &[reader]).is_err());
    }

    #[test]
    fn hostile_files_do_not_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let reader = identity(1);
        let mut file = b"age-encryption.org/v1\n-> X25519 ".to_vec();
        file.extend(&tail);
        prop_assert!(decrypt(&file, &[reader]).is_err());
    }
}
