//! Bech32 (BIP 173), the text form of age's keys.
//!
//! In: a human-readable part and bytes, or a text. Out: the other. Never: a text whose checksum is wrong, or in mixed case.
//! Without BIP 173's limit of 90 characters, as the age specification asks.

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const CHECKSUM: usize = 6;

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let taps = GENERATOR.iter().enumerate();
        taps.fold(
            next,
            |next, (bit, tap)| {
                if top >> bit & 1 == 1 { next ^ tap } else { next }
            },
        )
    })
}

fn expand(hrp: &str) -> impl Iterator<Item = u8> {
    let high = hrp.bytes().map(|byte| byte >> 5);
    high.chain([0]).chain(hrp.bytes().map(|byte| byte & 31))
}

/// Regroups bits; None when what is left over is not zero padding.
fn regroup(data: impl Iterator<Item = u8>, from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::new());
    for value in data {
        held = held << from | u32::from(value);
        bits += from;
        while bits >= to {
            bits -= to;
            out.push((held >> bits & ((1 << to) - 1)) as u8);
        }
        held &= (1 << bits) - 1;
    }
    if pad && bits > 0 {
        out.push((held << (to - bits)) as u8);
    } else if !pad && (bits >= from || held != 0) {
        return None;
    }
    Some(out)
}

/// Lower case; `hrp` must be in lower case.
pub fn encode(hrp: &str, data: &[u8]) -> String {
    let mut values = regroup(data.iter().copied(), 8, 5, true).unwrap_or_default();
    let sum = polymod(expand(hrp).chain(values.iter().copied()).chain([0; CHECKSUM])) ^ 1;
    values.extend((0..CHECKSUM).map(|at| (sum >> (5 * (5 - at)) & 31) as u8));
    let symbol = |value: &u8| char::from(CHARSET[usize::from(value & 31)]);
    format!("{hrp}1{}", values.iter().map(symbol).collect::<String>())
}

/// The human-readable part in lower case, and the bytes.
pub fn decode(text: &str) -> Option<(String, Vec<u8>)> {
    let mixed = text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase());
    let text = text.to_ascii_lowercase();
    let (hrp, data) = text.rsplit_once('1').filter(|_| !mixed)?;
    if hrp.is_empty() || !hrp.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let value = |byte: u8| CHARSET.iter().position(|symbol| *symbol == byte);
    let values: Option<Vec<u8>> = data.bytes().map(|byte| value(byte).map(|v| v as u8)).collect();
    let values = values?;
    if polymod(expand(hrp).chain(values.iter().copied())) != 1 {
        return None;
    }
    let payload = values.len().checked_sub(CHECKSUM)?;
    let bytes = regroup(values.into_iter().take(payload), 5, 8, false)?;
    Some((hrp.to_owned(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn valid_and_invalid_texts_of_bip_173() {
        for valid in [
            "A12UEL5L",
            "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs",
            "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw",
            "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w",
        ] {
            assert!(decode(valid).is_some(), "{valid}");
        }
        for invalid in [
            "pzry9x0s0muk",
            "1pzry9x0s0muk",
            "x1b4n0q5v",
            "li1dgmt3",
            "A1G7SGD8",
            "10a06t8",
            "1qzzfhee",
        ] {
            assert!(decode(invalid).is_none(), "{invalid}");
        }
        assert!(decode("a12UEL5L").is_none(), "mixed case");
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(data in prop::collection::vec(any::<u8>(), 0..80)) {
            let text = encode("age", &data);
            prop_assert_eq!(decode(&text), Some(("age".to_owned(), data.clone())));
            prop_assert_eq!(decode(&text.to_ascii_uppercase()), Some(("age".to_owned(), data)));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            let _ = decode(&text);
        }

        #[test]
        fn one_wrong_symbol_is_found(data in prop::collection::vec(any::<u8>(), 1..40), at in any::<prop::sample::Index>()) {
            let mut text = encode("age", &data).into_bytes();
            let at = 4 + at.index(text.len() - 4);
            text[at] = if text[at] == b'q' { b'p' } else { b'q' };
            prop_assert_eq!(decode(std::str::from_utf8(&text).unwrap()), None);
        }
    }
}
