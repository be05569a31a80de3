//! The table by which Go's runtime finds a function to a program counter (`runtime.pcHeader`, debug/gosym).
//!
//! In: the section, untrusted. Out: where functions of given names begin and end. Versions: 1.18 (magic `fffffff0`) and
//! 1.20 and later (`fffffff1`), little endian, 64 bits. Never: a panic or a loop without an end, whatever it holds.

use std::ops::Range;

const GO_1_18: u32 = 0xffff_fff0;
const GO_1_20: u32 = 0xffff_fff1;
const HEADER_LEN: usize = 8;

/// A parsed header.
#[derive(Debug)]
pub struct Table<'a> {
    names: &'a [u8],
    /// Pairs of 32 bits: offset of the function's code, and of its description from the begin of this table.
    functions: &'a [u8],
    count: usize,
    /// Where the code begins that the offsets count from.
    text: u64,
}

impl<'a> Table<'a> {
    /// None when the format is not known. `text`: the address of the code, for tables that leave it to the loader.
    pub fn parse(data: &'a [u8], text: Option<u64>) -> Option<Self> {
        let known = matches!(u32_at(data, 0)?, GO_1_18 | GO_1_20);
        // Two bytes of zero, then the size of the smallest instruction and that of a pointer.
        if !known || *data.get(7)? != 8 {
            return None;
        }
        // Counts of functions and files, begin of the code, then offsets: names, units, files, counters, functions.
        let field = |n: usize| word_at(data, HEADER_LEN + n * 8);
        let part = |n: usize| data.get(usize::try_from(field(n)?).ok()?..);
        let start = field(2).filter(|start| *start != 0).or(text)?;
        Some(Self {
            names: part(3)?,
            functions: part(7)?,
            count: usize::try_from(field(0)?).ok()?,
            text: start,
        })
    }

    /// Where each function is, in the order of `wanted`.
    pub fn find<const N: usize>(&self, wanted: &[&str; N]) -> [Option<Range<u64>>; N] {
        let names = wanted.map(|name| self.name(name));
        let mut found = [const { None }; N];
        if names.iter().all(Option::is_none) {
            return found;
        }
        for n in 0..self.count {
            let Some((start, end, name)) = self.function(n) else {
                break;
            };
            let which = names.iter().position(|wanted| *wanted == Some(name));
            if let Some(place) = which.and_then(|which| found.get_mut(which)) {
                *place = Some(start..end);
            }
        }
        found
    }

    /// Offset of a name among the names.
    fn name(&self, name: &str) -> Option<u32> {
        let text = [b"\0", name.as_bytes(), b"\0"].concat();
        let before = memchr::memmem::find(self.names, &text)?;
        u32::try_from(before + 1).ok()
    }

    /// Begin, end and name of function `n`. The table has one more entry: the end of the last.
    fn function(&self, n: usize) -> Option<(u64, u64, u32)> {
        let at = n.checked_mul(8)?;
        let start = u64::from(u32_at(self.functions, at)?);
        let description = usize::try_from(u32_at(self.functions, at + 4)?).ok()?;
        let end = u64::from(u32_at(self.functions, at + 8)?);
        // `runtime._func`: offset of the code, then of the name.
        let name = u32_at(self.functions, description.checked_add(4)?)?;
        Some((self.text.checked_add(start)?, self.text.checked_add(end)?, name))
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

fn word_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?
        .first_chunk()
        .map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u64 = 0x40_1000;

    /// Two functions, `main.one` of 16 bytes and `main.two` of 32.
    fn table(text: u64) -> Vec<u8> {
        let names = b"\0main.one\0main.two\0";
        let (names_at, functions_at) = (72u64, 96u64);
        let mut data = GO_1_20.to_le_bytes().to_vec();
        data.extend([0, 0, 1, 8]);
        for field in [2, 1, text, names_at, 0, 0, 0, functions_at] {
            data.extend(field.to_le_bytes());
        }
        data.extend(names);
        data.resize(96, 0);
        for word in [0u32, 24, 16, 32, 48, 0] {
            data.extend(word.to_le_bytes());
        }
        for word in [0u32, 1, 16, 10] {
            data.extend(word.to_le_bytes());
        }
        data
    }

    #[test]
    fn finds_functions_by_name() {
        let data = table(TEXT);
        let found = Table::parse(&data, None)
            .unwrap()
            .find(&["main.two", "main.none", "main.one"]);
        assert_eq!(found, [Some(TEXT + 16..TEXT + 48), None, Some(TEXT..TEXT + 16)]);
    }

    #[test]
    fn code_that_the_table_does_not_place_begins_where_the_section_does() {
        let data = table(0);
        let found = Table::parse(&data, Some(TEXT)).unwrap().find(&["main.one"]);
        assert_eq!(found, [Some(TEXT..TEXT + 16)]);
    }

    #[test]
    fn a_part_of_a_name_is_not_the_name() {
        let data = table(TEXT);
        assert_eq!(Table::parse(&data, None).unwrap().find(&["main.on"]), [None]);
    }

    #[test]
    fn cut_or_damaged_tables_are_no_panic() {
        let whole = table(TEXT);
        for cut in 0..whole.len() {
            if let Some(table) = Table::parse(&whole[..cut], None) {
                table.find(&["main.two"]);
            }
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] = 0xff;
            if let Some(table) = Table::parse(&damaged, None) {
                table.find(&["main.one", "main.two"]);
            }
        }
    }
}
