//! Segments are tar archives (POSIX ustar), so that `tar` takes a member out.
//!
//! In: a member's name and bytes, or an archive. Out: the other. Pure. Never: more trust in a length than the archive has
//! bytes.

const BLOCK: usize = 512;
/// Longest name of a ustar header without its prefix.
const NAME: usize = 100;

/// What ends an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Appends a member to `out`: header, bytes, padding.
pub fn append(out: &mut Vec<u8>, name: &str, bytes: &[u8], unix_seconds: u64) {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| {
        let field = header.iter_mut().skip(at);
        field.zip(text).for_each(|(to, from)| *to = *from);
    };
    put(0, name.as_bytes().get(..name.len().min(NAME)).unwrap_or_default());
    put(100, b"0000640\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", bytes.len()).as_bytes());
    put(136, format!("{unix_seconds:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let sum = format!("{sum:06o}\0 ");
    header
        .iter_mut()
        .skip(148)
        .zip(sum.bytes())
        .for_each(|(to, from)| *to = from);
    out.extend(header);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
}

/// Name and length of the member whose header `block` is; None at the archive's end, or where it is damaged.
pub fn header(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let text = |from: usize, length: usize| {
        let field = block.get(from..from + length)?;
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        std::str::from_utf8(field.get(..end)?).ok()
    };
    let number = |from: usize, length: usize| u64::from_str_radix(text(from, length)?.trim(), 8).ok();
    // The sum is over the header with blanks in the place of the sum.
    let blanked = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { b' ' } else { *byte });
    (number(148, 8)? == blanked.map(u64::from).sum::<u64>()).then_some(())?;
    let name = text(0, NAME)?.to_owned();
    (!name.is_empty()).then_some((name, number(124, 12)?))
}

/// The bytes of the member called `name`.
pub fn member(archive: &mut dyn std::io::Read, name: &str, most: u64) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    let mut block = [0; BLOCK];
    loop {
        match archive.read_exact(&mut block) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some((found, length)) = header(&block) else {
            return Ok(None);
        };
        if found == name && length <= most {
            let mut bytes = Vec::new();
            archive.take(length).read_to_end(&mut bytes)?;
            return Ok((bytes.len() as u64 == length).then_some(bytes));
        }
        let padded = length.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64);
        std::io::copy(&mut archive.take(padded), &mut std::io::sink())?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn archive(members: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, bytes) in members.iter().enumerate() {
            append(&mut out, &format!("m{at}"), bytes, 1_700_000_000);
        }
        out
    }

    proptest! {
        #[test]
        fn every_member_is_found_however_the_archive_is_cut_behind_it(
            members in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 1..5), end in any::<bool>(),
        ) {
            let mut whole = archive(&members);
            if end {
                whole.extend(END);
            }
            for (at, bytes) in members.iter().enumerate() {
                let found = member(&mut whole.as_slice(), &format!("m{at}"), 10_000).unwrap();
                prop_assert_eq!(found.as_ref(), Some(bytes));
                let upto = archive(&members[..=at]);
                let found = member(&mut upto.as_slice(), &format!("m{at}"), 10_000).unwrap();
                prop_assert_eq!(found.as_ref(), Some(bytes));
            }
            prop_assert_eq!(member(&mut whole.as_slice(), "other", 10_000).unwrap(), None);
        }

        #[test]
        fn a_damaged_archive_does_not_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..3000), from in any::<prop::sample::Index>()) {
            let mut whole = archive(&[vec![1; 700], vec![2; 10]]);
            let at = from.index(whole.len());
            bytes.truncate(whole.len() - at);
            let length = bytes.len();
            whole[at..at + length].copy_from_slice(&bytes);
            let _ = member(&mut whole.as_slice(), "m1", 10_000);
        }
    }
}
