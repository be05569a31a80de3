//! An encoder that puts every field into its table, as gRPC's do, so that late readers miss as much as they can.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub struct Indexing(VecDeque<(Vec<u8>, Vec<u8>)>);

impl Indexing {
    pub fn encode<'a>(&mut self, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            self.field(name, value, &mut block);
        }
        block
    }

    fn field(&mut self, name: &[u8], value: &[u8], block: &mut Vec<u8>) {
        const STATIC: usize = 61;
        let at = |found: usize| STATIC + 1 + found;
        let whole = self.0.iter().position(|(n, v)| n == name && v == value);
        if let Some(found) = whole {
            return integer(0x80, 7, at(found), block);
        }
        // Names as the static table has them.
        let known: &[(&[u8], usize)] = &[(b":path", 4), (b":status", 8), (b"content-type", 31)];
        let known = known
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, index)| *index);
        let own = || self.0.iter().position(|(n, _)| n == name).map(at);
        match known.or_else(own) {
            Some(index) => integer(0x40, 6, index, block),
            None => {
                block.push(0x40);
                string(name, block);
            }
        }
        string(value, block);
        self.0.push_front((name.to_vec(), value.to_vec()));
        let size = |table: &VecDeque<(Vec<u8>, Vec<u8>)>| -> usize {
            table
                .iter()
                .map(|(name, value)| name.len() + value.len() + 32)
                .sum()
        };
        while size(&self.0) > 4096 {
            self.0.pop_back();
        }
    }
}

fn string(text: &[u8], block: &mut Vec<u8>) {
    integer(0, 7, text.len(), block);
    block.extend(text);
}

fn integer(kind: u8, prefix: u32, value: usize, block: &mut Vec<u8>) {
    let mask = (1 << prefix) - 1;
    if value < mask {
        return block.push(kind | value as u8);
    }
    block.push(kind | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        block.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    block.push(rest as u8);
}
