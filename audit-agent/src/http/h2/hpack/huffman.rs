//! The Huffman code of HPACK (RFC 7541 appendix B).
//!
//! In: an encoded string. Out: its octets. Never: padding or an end-of-string symbol that the RFC forbids.

/// Bits of the code of each octet. The code is canonical: codes of one length are consecutive numbers, in the order of
/// their octets, and shorter ones come first. So the lengths say all of it.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28,
    28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6,
    6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7,
    8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7,
    15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24,
    23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23,
    23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26,
    26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20,
    21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27,
    27, 27, 26,
];

const LONGEST: usize = 30;

/// The canonical code, ready to decode.
struct Code {
    /// First code of each length, and where its octets begin in `octets`.
    first: [u32; LONGEST + 1],
    start: [u16; LONGEST + 1],
    count: [u16; LONGEST + 1],
    octets: [u8; 256],
}

static CODE: Code = Code::new();

impl Code {
    const fn new() -> Self {
        let mut code = Self {
            first: [0; LONGEST + 1],
            start: [0; LONGEST + 1],
            count: [0; LONGEST + 1],
            octets: [0; 256],
        };
        let (mut length, mut next, mut filled) = (1, 0u32, 0);
        while length <= LONGEST {
            next <<= 1;
            code.first[length] = next;
            code.start[length] = filled as u16;
            let mut octet = 0;
            while octet < 256 {
                if LENGTHS[octet] as usize == length {
                    code.octets[filled] = octet as u8;
                    filled += 1;
                    next += 1;
                    code.count[length] += 1;
                }
                octet += 1;
            }
            length += 1;
        }
        code
    }

    /// The octet whose code are the `length` bits of `bits`.
    fn octet(&self, bits: u32, length: usize) -> Option<u8> {
        let offset = bits.checked_sub(*self.first.get(length)?)?;
        if offset >= u32::from(*self.count.get(length)?) {
            return None;
        }
        let at = usize::from(*self.start.get(length)?) + offset as usize;
        self.octets.get(at).copied()
    }
}

/// Decodes a string; None when it is none.
pub fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    const SHORTEST: usize = 5;
    let mut out = Vec::with_capacity(encoded.len() + encoded.len() / 2);
    // The bits that are not used up are the lowest `waiting` ones.
    let (mut bits, mut waiting) = (0u64, 0usize);
    let mut tried = SHORTEST;
    for byte in encoded {
        bits = bits << 8 | u64::from(*byte);
        waiting += 8;
        while tried <= waiting {
            let word = (bits >> (waiting - tried)) as u32 & ((1 << tried) - 1);
            if let Some(octet) = CODE.octet(word, tried) {
                out.push(octet);
                waiting -= tried;
                tried = SHORTEST;
            } else if tried == LONGEST {
                // The one code that is left is that of the end of a string, which may not be sent.
                return None;
            } else {
                tried += 1;
            }
        }
    }
    // What is left is padding: fewer than 8 bits, all of them ones (section 5.2).
    let ones = (1u64 << waiting) - 1;
    (waiting < 8 && bits & ones == ones).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_strings_of_the_rfc() {
        let cases: [(&[u8], &[u8]); 3] = [
            (
                b"www.example.com",
                b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            ),
            (b"no-cache", b"\xa8\xeb\x10\x64\x9c\xbf"),
            (b"302", b"\x64\x02"),
        ];
        for (text, encoded) in cases {
            assert_eq!(decode(encoded).as_deref(), Some(text));
        }
    }

    #[test]
    fn refuses_an_end_of_string_and_wrong_padding() {
        assert_eq!(decode(b"\xff\xff\xff\xff"), None, "the end of a string");
        assert_eq!(decode(b"\x64\x02\xff"), None, "a byte of padding");
        assert_eq!(
            decode(b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xfe"),
            None,
            "zeros as padding"
        );
    }
}
