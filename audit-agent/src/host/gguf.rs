//! The first metadata of a GGUF file: what the model calls itself.
//!
//! In: the beginning of a file, hostile. Out: name, architecture, quantisation. Never: more than the given bytes, a
//! panic. Format: ggml's `docs/gguf.md`.

/// What the header says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Header {
    pub name: Option<String>,
    pub architecture: Option<String>,
    pub quantisation: Option<String>,
}

/// Metadata entries that are read.
const ENTRIES_MAX: u64 = 4096;

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(usize::try_from(len).ok()?)?;
        self.0 = tail;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let len = self.u64()?;
        self.take(len)
    }
}

/// Reads the header; what lies behind the given bytes stays unknown.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut bytes = Bytes(bytes.strip_prefix(b"GGUF")?);
    let (_version, _tensors, entries) = (bytes.u32()?, bytes.u64()?, bytes.u64()?);
    let mut header = Header::default();
    for _ in 0..entries.min(ENTRIES_MAX) {
        if entry(&mut bytes, &mut header).is_none() {
            break;
        }
    }
    Some(header)
}

fn entry(bytes: &mut Bytes<'_>, header: &mut Header) -> Option<()> {
    const U32: u32 = 4;
    const STRING: u32 = 8;
    let key = bytes.string()?;
    match (bytes.u32()?, key) {
        (STRING, b"general.name") => header.name = Some(text(bytes.string()?)),
        (STRING, b"general.architecture") => header.architecture = Some(text(bytes.string()?)),
        (U32, b"general.file_type") => header.quantisation = Some(file_type(bytes.u32()?)),
        (kind, _) => skip(bytes, kind, 0)?,
    }
    Some(())
}

fn skip(bytes: &mut Bytes<'_>, kind: u32, depth: u32) -> Option<()> {
    match kind {
        0 | 1 | 7 => bytes.take(1).map(drop),
        2 | 3 => bytes.take(2).map(drop),
        4..=6 => bytes.take(4).map(drop),
        10..=12 => bytes.take(8).map(drop),
        8 => bytes.string().map(drop),
        9 if depth < 4 => {
            let (inner, count) = (bytes.u32()?, bytes.u64()?);
            (0..count).try_for_each(|_| skip(bytes, inner, depth + 1))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `LLAMA_FTYPE_*` of llama.h.
fn file_type(number: u32) -> String {
    let name = match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        other => return format!("ftype_{other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn file() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(4u64.to_le_bytes());
        for (key, kind, value) in [
            ("general.architecture", 8u32, string("llama")),
            (
                "list",
                9,
                [&5u32.to_le_bytes()[..], &2u64.to_le_bytes(), &[0; 8]].concat(),
            ),
            ("general.name", 8, string("tiny")),
            ("general.file_type", 4, 15u32.to_le_bytes().to_vec()),
        ] {
            bytes.extend(string(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        bytes
    }

    #[test]
    fn reads_what_a_model_calls_itself() {
        let header = header(&file()).unwrap();
        assert_eq!(header.name.as_deref(), Some("tiny"));
        assert_eq!(header.architecture.as_deref(), Some("llama"));
        assert_eq!(header.quantisation.as_deref(), Some("Q4_K_M"));
    }

    #[test]
    fn cut_and_hostile_files_do_no_harm() {
        let whole = file();
        for cut in 0..whole.len() {
            header(&whole[..cut]);
            let mut hostile = whole.clone();
            hostile[cut] = 0xff;
            header(&hostile);
        }
        assert_eq!(header(b"not a model"), None);
    }
}
