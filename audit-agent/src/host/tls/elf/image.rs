//! An ELF file as far as TLS needs it.
//!
//! In: a file that a process executes, untrusted. Out: whole sections, places in the file, texts that it mentions. A
//! section is read at once or by pieces, never entry by entry: a program may have a million symbols. Never: more memory
//! than [`SECTION_MAX`], whatever the headers say.

use memchr::memmem;
use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSegment};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Largest section that is held in memory; larger ones count as absent.
const SECTION_MAX: u64 = 256 * 1024 * 1024;
/// How much of a section is searched for a text, and how much of it at a time.
const SEARCHED_MAX: u64 = 64 * 1024 * 1024;
const PIECE: usize = 256 * 1024;

pub type Cache<'a> = ReadCache<&'a File>;

/// A parsed file. `cache` outlives it, since the headers are read through it.
#[derive(Debug)]
pub struct Image<'a> {
    file: &'a File,
    elf: object::File<'a, &'a Cache<'a>>,
}

impl<'a> Image<'a> {
    /// None when the file is no 64-bit ELF file.
    pub fn parse(file: &'a File, cache: &'a Cache<'a>) -> Option<Self> {
        let elf = object::File::parse(cache).ok()?;
        elf.is_64().then_some(Self { file, elf })
    }

    pub fn is_x86_64(&self) -> bool {
        self.elf.architecture() == object::Architecture::X86_64
    }

    /// Place in the file and length of the section with the first of these names that there is.
    fn range(&self, names: &[&str]) -> Option<(u64, u64)> {
        let mut sections = names.iter().filter_map(|name| self.elf.section_by_name(name));
        sections.find_map(|section| section.file_range())
    }

    pub fn has(&self, section: &str) -> bool {
        self.elf.section_by_name(section).is_some()
    }

    /// Address of a section's first byte.
    pub fn address(&self, section: &str) -> Option<u64> {
        self.elf.section_by_name(section).map(|section| section.address())
    }

    /// The whole section with the first of these names that there is.
    pub fn section(&self, names: &[&str]) -> Option<Vec<u8>> {
        let (offset, len) = self.range(names)?;
        self.read(offset, len)
    }

    /// `len` bytes of the program from `address`.
    pub fn code(&self, address: u64, len: u64) -> Option<Vec<u8>> {
        self.read(self.file_offset(address)?, len)
    }

    fn read(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        let beyond = offset.checked_add(len)? > self.file.metadata().ok()?.len();
        if len > SECTION_MAX || beyond {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Uprobes are placed by offset in the file, not by address.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.elf.segments().find_map(|segment| {
            let inside = address.checked_sub(segment.address())?;
            let (start, len) = segment.file_range();
            (inside < len).then(|| start.saturating_add(inside))
        })
    }

    /// Whether the read-only data has one of these texts, which are short: the number of the first that it has.
    pub fn mentions(&self, texts: &[&[u8]]) -> Option<usize> {
        let mut found = None;
        self.search(|piece| {
            let first = texts.iter().position(|text| memmem::find(piece, text).is_some());
            found = [found, first].into_iter().flatten().min();
            found == Some(0)
        });
        found
    }

    /// Gives the read-only data to `look` by pieces that overlap, until it says that it has seen enough.
    pub fn search(&self, mut look: impl FnMut(&[u8]) -> bool) {
        const OVERLAP: usize = 64;
        let Some((offset, len)) = self.range(&[".rodata"]) else {
            return;
        };
        let mut buffer = vec![0; PIECE];
        let mut at = 0;
        while at < len.min(SEARCHED_MAX) {
            let Some(start) = offset.checked_add(at) else {
                return;
            };
            let Ok(read @ 1..) = self.file.read_at(&mut buffer, start) else {
                return;
            };
            let piece = read.min(usize::try_from(len - at).unwrap_or(usize::MAX));
            if look(buffer.get(..piece).unwrap_or_default()) || read <= OVERLAP {
                return;
            }
            at += (read - OVERLAP) as u64;
        }
    }
}
