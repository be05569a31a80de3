//! Offsets of kernel structure members, from BTF (`/sys/kernel/btf/vmlinux`).
//!
//! In: the bytes of a BTF blob, untrusted. Out: byte offsets by structure and member path. Never: IO, or a
//! built-in offset: a member that is not there is an error that names it.
//! Format: Documentation/bpf/btf.rst of the kernel.

use std::collections::HashMap;
use thiserror::Error;

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC: u32 = 12;
/// Anonymous members inside anonymous members that are followed.
const NESTING_MAX: u32 = 16;

#[derive(Debug, Error, Eq, PartialEq)]
pub enum BtfError {
    #[error("the kernel's BTF is malformed at byte {0}")]
    Malformed(usize),
    #[error("this kernel has no `struct {0}`")]
    NoStruct(String),
    #[error("this kernel's `struct {in_struct}` has no member `{member}`")]
    NoMember { in_struct: String, member: String },
}

/// An index over a BTF blob; types keep their number, which starts at 1.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Byte offset of each type in `types`.
    at: Vec<u32>,
    structs: HashMap<&'a [u8], u32>,
}

struct Member {
    name: u32,
    type_id: u32,
    bits: u32,
}

fn word(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let slice = bytes
        .get(at..at.saturating_add(4))
        .ok_or(BtfError::Malformed(at))?;
    Ok(slice
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte)))
}

/// Bytes that follow the 12 of `struct btf_type`, by kind and number of elements.
fn extra_len(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        1 | 14 | 17 => 4,
        2 | 7..=12 | 16 | 18 => 0,
        3 => 12,
        KIND_STRUCT | KIND_UNION | 15 | 19 => count * 12,
        6 | 13 => count * 8,
        _ => return None,
    })
}

impl<'a> Btf<'a> {
    /// Reads the headers and the place of each type; the blob is little-endian like the machines we run on.
    pub fn parse(blob: &'a [u8]) -> Result<Self, BtfError> {
        if word(blob, 0)? & 0xffff != u32::from(MAGIC) {
            return Err(BtfError::Malformed(0));
        }
        let header = word(blob, 4)? as usize;
        let section = |at: usize| -> Result<&'a [u8], BtfError> {
            let start = header.saturating_add(word(blob, at)? as usize);
            let end = start.saturating_add(word(blob, at + 4)? as usize);
            blob.get(start..end).ok_or(BtfError::Malformed(at))
        };
        let mut btf = Self {
            types: section(8)?,
            strings: section(16)?,
            at: vec![0],
            structs: HashMap::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let info = word(self.types, at + 4)?;
            let kind = info >> 24 & 0x1f;
            if kind == KIND_STRUCT {
                let name = self.string(word(self.types, at)?)?;
                self.structs.entry(name).or_insert(self.at.len() as u32);
            }
            self.at.push(at as u32);
            let extra = extra_len(kind, (info & 0xffff) as usize).ok_or(BtfError::Malformed(at))?;
            at = at.saturating_add(12 + extra);
        }
        Ok(())
    }

    fn string(&self, at: u32) -> Result<&'a [u8], BtfError> {
        let tail = self
            .strings
            .get(at as usize..)
            .ok_or(BtfError::Malformed(at as usize))?;
        Ok(tail.split(|byte| *byte == 0).next().unwrap_or_default())
    }

    fn type_at(&self, id: u32) -> Result<usize, BtfError> {
        self.at
            .get(id as usize)
            .map(|at| *at as usize)
            .ok_or(BtfError::Malformed(id as usize))
    }

    /// Byte offset of `path` (`member.member`) in `struct name`; anonymous members are looked through.
    pub fn offset(&self, name: &str, path: &str) -> Result<u32, BtfError> {
        let id = self
            .structs
            .get(name.as_bytes())
            .ok_or_else(|| BtfError::NoStruct(name.into()))?;
        let mut type_id = *id;
        let mut bits = 0;
        for member in path.split('.') {
            let found = self.member(type_id, member.as_bytes(), 0)?;
            let found = found.ok_or_else(|| BtfError::NoMember {
                in_struct: name.into(),
                member: path.into(),
            })?;
            bits += found.bits;
            type_id = found.type_id;
        }
        Ok(bits / 8)
    }

    /// The first type of `kind` that is called `name`: where it is, and its `info` and third word.
    fn named(&self, kind: u32, name: &str) -> Option<(usize, u32, u32)> {
        self.at.iter().skip(1).find_map(|at| {
            let at = *at as usize;
            let info = word(self.types, at + 4).ok()?;
            let found =
                info >> 24 & 0x1f == kind && self.string(word(self.types, at).ok()?).ok()? == name.as_bytes();
            found.then(|| word(self.types, at + 8).ok().map(|third| (at, info, third)))?
        })
    }

    /// Value of an enumerator of `enum name`.
    pub fn enumerator(&self, name: &str, enumerator: &str) -> Option<u32> {
        let (at, info, _) = self.named(KIND_ENUM, name)?;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let entry = at + 12 + index * 8;
            let found = self.string(word(self.types, entry).ok()?).ok()? == enumerator.as_bytes();
            found.then(|| word(self.types, entry + 4).ok())?
        })
    }

    /// How many parameters the kernel function `name` has; None when there is no such function.
    pub fn parameters(&self, name: &str) -> Option<u32> {
        let (_, _, prototype) = self.named(KIND_FUNC, name)?;
        let at = self.type_at(prototype).ok()?;
        word(self.types, at + 4).ok().map(|info| info & 0xffff)
    }

    /// Bytes of `struct name`.
    pub fn size(&self, name: &str) -> Option<u32> {
        let id = self.structs.get(name.as_bytes())?;
        word(self.types, self.type_at(*id).ok()? + 8).ok()
    }

    /// Bytes of the integer that the member at `path` of `struct name` is.
    pub fn member_size(&self, name: &str, path: &str) -> Option<u32> {
        let id = self.structs.get(name.as_bytes())?;
        let member = self.member(*id, path.as_bytes(), 0).ok()??;
        let at = self.type_at(self.unqualified(member.type_id).ok()?).ok()?;
        word(self.types, at + 8).ok()
    }

    fn member(&self, type_id: u32, name: &[u8], depth: u32) -> Result<Option<Member>, BtfError> {
        let at = self.type_at(self.unqualified(type_id)?)?;
        let info = word(self.types, at + 4)?;
        if !matches!(info >> 24 & 0x1f, KIND_STRUCT | KIND_UNION) || depth > NESTING_MAX {
            return Ok(None);
        }
        for index in 0..(info & 0xffff) as usize {
            let member = self.member_at(at + 12 + index * 12, info >> 31 == 1)?;
            if member.name != 0 && self.string(member.name)? == name {
                return Ok(Some(member));
            }
            if self.string(member.name)?.is_empty()
                && let Some(inner) = self.member(member.type_id, name, depth + 1)?
            {
                return Ok(Some(Member {
                    bits: inner.bits + member.bits,
                    ..inner
                }));
            }
        }
        Ok(None)
    }

    /// With bit fields (`kind_flag`) the upper 8 bits of the offset are the size of the field.
    fn member_at(&self, at: usize, kind_flag: bool) -> Result<Member, BtfError> {
        let offset = word(self.types, at + 8)?;
        Ok(Member {
            name: word(self.types, at)?,
            type_id: word(self.types, at + 4)?,
            bits: if kind_flag { offset & 0x00ff_ffff } else { offset },
        })
    }

    /// The type behind typedef, const, volatile, restrict and type tags.
    fn unqualified(&self, mut type_id: u32) -> Result<u32, BtfError> {
        for _ in 0..NESTING_MAX {
            let at = self.type_at(type_id)?;
            if !matches!(word(self.types, at + 4)? >> 24 & 0x1f, 8..=11 | 18) {
                break;
            }
            type_id = word(self.types, at + 8)?;
        }
        Ok(type_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; }; struct inner c; }; struct inner { int x; int y; }`
    fn blob() -> Vec<u8> {
        let strings = b"\0int\0outer\0a\0b\0c\0inner\0x\0y\0";
        let name = |text: &[u8]| {
            strings
                .windows(text.len())
                .position(|window| window == text)
                .unwrap() as u32
        };
        let mut types = Vec::new();
        let mut push = |words: &[u32]| types.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        push(&[name(b"int\0"), 1 << 24, 4, 32]);
        push(&[0, KIND_STRUCT << 24 | 1, 4, name(b"b\0"), 1, 0]);
        push(&[
            name(b"inner\0"),
            KIND_STRUCT << 24 | 2,
            8,
            name(b"x\0"),
            1,
            0,
            name(b"y\0"),
            1,
            32,
        ]);
        push(&[
            name(b"outer\0"),
            KIND_STRUCT << 24 | 3,
            16,
            name(b"a\0"),
            1,
            0,
            0,
            2,
            32,
            name(b"c\0"),
            3,
            64,
        ]);
        let mut blob = vec![0x9f, 0xeb, 1, 0];
        for word in [
            24,
            0,
            types.len() as u32,
            types.len() as u32,
            strings.len() as u32,
        ] {
            blob.extend(word.to_le_bytes());
        }
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    #[test]
    fn finds_members_through_paths_and_anonymous_structs() {
        let blob = blob();
        let btf = Btf::parse(&blob).unwrap();
        assert_eq!(btf.offset("outer", "a"), Ok(0));
        assert_eq!(btf.offset("outer", "b"), Ok(4));
        assert_eq!(btf.offset("outer", "c.y"), Ok(12));
    }

    #[test]
    fn tells_sizes_of_structs_and_members() {
        let blob = blob();
        let btf = Btf::parse(&blob).unwrap();
        assert_eq!(btf.size("outer"), Some(16));
        assert_eq!(btf.member_size("outer", "b"), Some(4));
        assert_eq!(btf.parameters("tcp_recvmsg"), None);
        assert_eq!(btf.enumerator("iter_type", "ITER_UBUF"), None);
    }

    #[test]
    fn names_what_is_missing() {
        let blob = blob();
        let btf = Btf::parse(&blob).unwrap();
        assert_eq!(btf.offset("gone", "a"), Err(BtfError::NoStruct("gone".into())));
        let error = btf.offset("outer", "c.z").unwrap_err();
        assert_eq!(
            error.to_string(),
            "this kernel's `struct outer` has no member `c.z`"
        );
    }

    #[test]
    fn refuses_cut_and_damaged_blobs_without_a_panic() {
        let blob = blob();
        for cut in 0..blob.len() {
            let _ = Btf::parse(&blob[..cut]).map(|btf| btf.offset("outer", "c.y"));
            let mut damaged = blob.clone();
            damaged[cut] ^= 0xff;
            let _ = Btf::parse(&damaged).map(|btf| btf.offset("outer", "c.y"));
        }
    }
}
