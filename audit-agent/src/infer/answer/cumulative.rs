//! Streams of which some servers send the whole text so far in each piece, and others only what is new.
//!
//! As long as each piece begins with the one before it, they are taken as texts so far; the first that does not shows that
//! all of them were new text. What that text is then follows from the lengths, so nothing is guessed from one piece.

/// Pieces whose lengths are kept; a stream that looks cumulative for so long is.
const PIECES: usize = 4096;

#[derive(Debug, Default)]
pub struct Cumulative {
    text: String,
    lengths: Vec<usize>,
    deltas: bool,
}

impl Cumulative {
    pub fn push(&mut self, piece: &str) {
        if piece.is_empty() {
            return;
        }
        if self.deltas {
            self.text.push_str(piece);
        } else if piece.starts_with(self.text.as_str()) {
            self.text.clear();
            self.text.push_str(piece);
            if self.lengths.len() < PIECES {
                self.lengths.push(piece.len());
            }
        } else if self.lengths.len() < PIECES {
            self.deltas = true;
            let prefixes = self.lengths.iter().filter_map(|len| self.text.get(..*len));
            let mut joined: String = prefixes.collect();
            joined.push_str(piece);
            self.text = joined;
        } else {
            // The server rewrote its text.
            self.text.clear();
            self.text.push_str(piece);
        }
    }

    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    pub fn clear(&mut self) {
        self.text.clear();
        self.lengths.clear();
    }

    pub fn finish(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&str]) -> String {
        let mut cumulative = Cumulative::default();
        pieces.iter().for_each(|piece| cumulative.push(piece));
        cumulative.finish()
    }

    #[test]
    fn both_kinds_of_stream_give_the_text() {
        assert_eq!(joined(&["a", "ab", "ab", "abc"]), "abc");
        assert_eq!(joined(&["a", "b", "c"]), "abc");
    }

    #[test]
    fn new_text_that_looks_cumulative_at_first_is_not_lost() {
        assert_eq!(joined(&["h", "ha", "hah", "!"]), "hhahah!");
    }
}
