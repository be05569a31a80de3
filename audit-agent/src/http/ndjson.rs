//! Newline-delimited JSON (Ollama's streams): body bytes in, lines out.
//!
//! Never: more than [`limits::STREAM_LINE_BYTES`] of one line; what is longer is counted and dropped.

use crate::limits;

#[derive(Debug, Default)]
pub struct NdJson {
    line: Vec<u8>,
    overlong: bool,
    /// Lines that were over the cap.
    pub dropped: u64,
}

impl NdJson {
    /// Takes the next bytes; `each` gets every line that ends in them and is not empty.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (part, ends) = match piece.strip_suffix(b"\n") {
                Some(part) => (part, true),
                None => (piece, false),
            };
            self.overlong |= self.line.len() + part.len() > limits::STREAM_LINE_BYTES;
            if !self.overlong {
                self.line.extend_from_slice(part);
            }
            if ends {
                self.finish(&mut each);
            }
        }
    }

    /// The body is over: a last line without its end is given too.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if std::mem::take(&mut self.overlong) {
            self.dropped += 1;
        } else {
            let line = self.line.trim_ascii();
            if !line.is_empty() {
                each(line);
            }
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_lines_however_they_are_cut() {
        let body = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for cut in 1..body.len() {
            let mut lines = NdJson::default();
            let mut got = Vec::new();
            for piece in body.chunks(cut) {
                lines.push(piece, |line| got.push(line.to_vec()));
            }
            lines.finish(|line| got.push(line.to_vec()));
            assert_eq!(got, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "cut {cut}");
        }
    }
}
