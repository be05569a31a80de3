//! HPACK (RFC 7541) for a reader that may have come late.
//!
//! In: the field blocks of one direction, whole and in the order in which they were on the wire. Out: their fields, and how
//! many of them name something older than our sight. Never: a field by guess; more than [`limits::HTTP_HEADERS`] fields or
//! [`limits::HTTP_HEAD_BYTES`] of one block.
//!
//! A usual decoder fails at the first index that it does not know. But indices count from the newest insertion, so the
//! insertions that were seen are a window on the sender's table through which every later reference can be resolved,
//! and a reference to what is older is one field that is not known: the fields around it are as good as ever.

mod huffman;
mod table;

use crate::limits;
use table::{Found, Table};

/// The fields of one block.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Block {
    /// Names and values as they were sent.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Fields whose name or value is not known.
    pub unknown: u64,
    /// There were more fields than are kept.
    pub over_cap: bool,
    bytes: usize,
}

impl Block {
    fn add(&mut self, name: &[u8], value: &[u8]) {
        self.bytes = self.bytes.saturating_add(name.len() + value.len());
        if self.bytes > limits::HTTP_HEAD_BYTES || self.fields.len() >= limits::HTTP_HEADERS {
            self.over_cap = true;
        } else {
            self.fields.push((name.to_vec(), value.to_vec()));
        }
    }

    fn add_found(&mut self, found: Found<'_>) -> Result<(), &'static str> {
        match found {
            Found::Field { name, value } => self.add(name, value),
            Found::Nameless { .. } | Found::Before => self.unknown += 1,
            Found::Invalid => return Err("field index without a field"),
        }
        Ok(())
    }
}

/// The decoder of one direction.
#[derive(Debug)]
pub struct Hpack {
    table: Table,
}

/// The name of a literal field.
enum Name {
    Known(Vec<u8>),
    Unknown,
}

impl Hpack {
    /// `joined`: blocks went before the first that we see.
    pub fn new(joined: bool) -> Self {
        Self {
            table: Table::new(joined),
        }
    }

    /// A block was missed.
    pub fn forget(&mut self) {
        self.table.forget();
    }

    /// Bytes that are kept between blocks.
    pub fn size(&self) -> usize {
        self.table.size()
    }

    /// Decodes one block. After an error the rest of the block is as good as missed.
    pub fn decode(&mut self, block: &[u8]) -> Result<Block, &'static str> {
        let mut fields = Block::default();
        let mut rest = Reader(block);
        while let Some(first) = rest.0.first().copied() {
            let decoded = self.field(first, &mut rest, &mut fields);
            if let Err(why) = decoded {
                self.forget();
                return Err(why);
            }
        }
        Ok(fields)
    }

    /// One representation (section 6); its kind is in the highest bits of its first byte.
    fn field(&mut self, first: u8, rest: &mut Reader<'_>, fields: &mut Block) -> Result<(), &'static str> {
        const INDEXED: u8 = 0x80;
        const INCREMENTAL: u8 = 0x40;
        const RESIZE: u8 = 0x20;
        if first & INDEXED != 0 {
            let index = rest.integer(7)?;
            return fields.add_found(self.table.get(index));
        }
        let incremental = first & INCREMENTAL != 0;
        if !incremental && first & RESIZE != 0 {
            self.table.resize(rest.integer(5)?);
            return Ok(());
        }
        let name = self.name(rest, if incremental { 6 } else { 4 })?;
        let value = rest.string()?;
        match &name {
            Name::Known(name) => fields.add(name, &value),
            Name::Unknown => fields.unknown += 1,
        }
        if incremental {
            let name = match name {
                Name::Known(name) => Some(name),
                Name::Unknown => None,
            };
            self.table.insert(name, value);
        }
        Ok(())
    }

    fn name(&self, rest: &mut Reader<'_>, prefix: u32) -> Result<Name, &'static str> {
        let index = rest.integer(prefix)?;
        if index == 0 {
            return rest.string().map(Name::Known);
        }
        match self.table.get(index) {
            Found::Field { name, .. } => Ok(Name::Known(name.to_vec())),
            Found::Nameless { .. } | Found::Before => Ok(Name::Unknown),
            Found::Invalid => Err("field index without a field"),
        }
    }
}

/// What is left of a block.
struct Reader<'a>(&'a [u8]);

const SHORT: &str = "field block ends inside a field";

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer that begins in the lowest `prefix` bits of the next byte (section 5.1).
    fn integer(&mut self, prefix: u32) -> Result<usize, &'static str> {
        /// Four more bytes give 28 bits, which is more than a block or a table may have.
        const SHIFT_MAX: u32 = 21;
        let mask = (1u8 << prefix) - 1;
        let first = self.byte()? & mask;
        let mut value = usize::from(first);
        if first < mask {
            return Ok(value);
        }
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            value = value.saturating_add(usize::from(byte & 0x7f) << shift);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift > SHIFT_MAX {
                return Err("integer of a field is too large");
            }
        }
    }

    /// A string literal (section 5.2).
    fn string(&mut self) -> Result<Vec<u8>, &'static str> {
        let huffman = self.0.first().is_some_and(|first| first & 0x80 != 0);
        let len = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(SHORT)?;
        self.0 = rest;
        match huffman {
            true => huffman::decode(bytes).ok_or("broken Huffman code in a field"),
            false => Ok(bytes.to_vec()),
        }
    }
}

#[cfg(test)]
pub mod indexing;
#[cfg(test)]
mod tests;
