//! Symbol tables, read as a whole.
//!
//! In: an ELF file. Out: the address of each wanted function. Never: a read for each symbol; a panic, whatever the
//! tables say.

use super::image::Image;
use std::collections::HashMap;

/// `Elf64_Sym`: name, info, other, section index, value, size.
const SYMBOL: usize = 24;

/// What the symbol tables say.
#[derive(Debug, Default)]
pub struct Symbols {
    places: HashMap<&'static str, u64>,
}

impl Symbols {
    /// Looks for `wanted` in the dynamic and the full table.
    pub fn of(image: &Image<'_>, wanted: &[&'static str]) -> Self {
        let mut found = Self::default();
        for (table, names) in [(".dynsym", ".dynstr"), (".symtab", ".strtab")] {
            if let (Some(table), Some(names)) = (image.section(&[table]), image.section(&[names])) {
                found.look(&table, &names, wanted);
            }
        }
        found
    }

    /// The function's address.
    pub fn address(&self, name: &str) -> Option<u64> {
        self.places.get(name).copied()
    }

    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn look(&mut self, table: &[u8], names: &[u8], wanted: &[&'static str]) {
        // A library that exports none of them is no reason to look at each of its names.
        if !wanted
            .iter()
            .any(|name| memchr::memmem::find(names, name.as_bytes()).is_some())
        {
            return;
        }
        for symbol in table.chunks_exact(SYMBOL) {
            let (address, section) = (word(symbol, 8), half(symbol, 6));
            let Some(name) = name(names, symbol) else { continue };
            if address == 0 || section == 0 {
                continue;
            }
            if let Some(wanted) = wanted.iter().find(|wanted| wanted.as_bytes() == name) {
                self.places.entry(wanted).or_insert(address);
            }
        }
    }
}

/// A name without the version that some tool chains append: `SSL_read@@OPENSSL_3.0.0`.
fn name<'a>(names: &'a [u8], symbol: &[u8]) -> Option<&'a [u8]> {
    let at = u32::from_le_bytes(*symbol.first_chunk()?);
    let tail = names.get(usize::try_from(at).ok()?..)?;
    tail.split(|byte| matches!(byte, 0 | b'@')).next()
}

fn word(symbol: &[u8], at: usize) -> u64 {
    let bytes = symbol.get(at..).and_then(|tail| tail.first_chunk());
    bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn half(symbol: &[u8], at: usize) -> u16 {
    let bytes = symbol.get(at..).and_then(|tail| tail.first_chunk());
    bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(name: u32, section: u16, address: u64) -> Vec<u8> {
        let mut symbol = name.to_le_bytes().to_vec();
        symbol.extend([0x12, 0]);
        symbol.extend(section.to_le_bytes());
        symbol.extend(address.to_le_bytes());
        symbol.extend(7u64.to_le_bytes());
        symbol
    }

    const NAMES: &[u8] = b"\0SSL_read_ex\0SSL_read@@V1\0";

    #[test]
    fn finds_a_whole_name_with_or_without_its_version() {
        let mut found = Symbols::default();
        let table = [symbol(1, 1, 0x10), symbol(13, 1, 0x20)].concat();
        found.look(&table, NAMES, &["SSL_read", "SSL_write"]);
        assert_eq!(found.address("SSL_read"), Some(0x20));
        assert!(!found.has("SSL_write"));
    }

    #[test]
    fn what_is_only_imported_is_not_there() {
        let mut found = Symbols::default();
        let table = [symbol(13, 0, 0), symbol(13, 0, 5), symbol(13, 3, 0)].concat();
        found.look(&table, NAMES, &["SSL_read"]);
        assert!(!found.has("SSL_read"));
    }

    #[test]
    fn names_beyond_the_table_are_passed_over() {
        let mut found = Symbols::default();
        let table = [symbol(u32::MAX, 1, 1), symbol(13, 1, 9)].concat();
        found.look(&table[..40], NAMES, &["SSL_read"]);
        assert!(!found.has("SSL_read"));
        found.look(&table, NAMES, &["SSL_read"]);
        assert_eq!(found.address("SSL_read"), Some(9));
    }
}
