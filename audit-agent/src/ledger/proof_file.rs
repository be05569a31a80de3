//! The proof that one line is in a log, as a file of its own (C2SP tlog-proof).
//!
//! In: a log's tiles and a checkpoint. Out: the text of the proof, and whether one holds.

use super::keys::Verifier;
use super::merkle::tile::Tiles;
use super::merkle::{Hash, leaf, proof};
use super::note::{Checkpoint, NoteError};
use super::source::{Source, hashes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Write};
use std::io;

const MAGIC: &str = "c2sp.org/tlog-proof@v1";

/// One line's place under a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProofFile {
    pub index: u64,
    /// From the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The signed note, as it is.
    pub checkpoint: String,
}

impl ProofFile {
    /// Proves line `index` under `checkpoint`, whose tree has `size` lines.
    pub fn make(source: &mut impl Source, index: u64, size: u64, checkpoint: &str) -> io::Result<Self> {
        let fetch = |level, index, width| hashes(source, level, index, width);
        Ok(Self {
            index,
            path: proof::inclusion(index, size, &mut Tiles::new(size, fetch))?,
            checkpoint: checkpoint.into(),
        })
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (head, checkpoint) = text.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(MAGIC) {
            return None;
        }
        lines.next_if(|line| line.starts_with("extra "));
        let index = lines.next()?.strip_prefix("index ")?;
        let value: u64 = index.parse().ok()?;
        let path = lines.map(|line| STANDARD.decode(line).ok()?.try_into().ok());
        let path: Vec<Hash> = path.take(proof::MOST + 1).collect::<Option<_>>()?;
        (value.to_string() == index && path.len() <= proof::MOST).then(|| Self {
            index: value,
            path,
            checkpoint: checkpoint.into(),
        })
    }

    /// Whether the proof is of `line`, under a checkpoint that `log` signed.
    pub fn holds(&self, line: &[u8], log: &Verifier) -> Result<bool, NoteError> {
        let head = Checkpoint::open(&self.checkpoint, log)?.0.head;
        Ok(proof::includes(
            &head.root,
            head.size,
            self.index,
            &leaf(line),
            &self.path,
        ))
    }
}

impl fmt::Display for ProofFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{MAGIC}\nindex {}", self.index)?;
        self.path
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        f.write_char('\n')?;
        f.write_str(&self.checkpoint)
    }
}
