//! A JSON text of any length, held in bounded memory: what is left out leaves its structure whole.
//!
//! In: bytes of one JSON value as they come. Out: a shorter JSON text with the same members, so that what stands at the end
//! (`usage`) is read however long the body was. Left out are elements of long arrays and ends of long strings; that it
//! happened is said. Never: more than [`limits::JSON_SQUEEZED_BYTES`]; a difference by how the bytes were cut; a panic.

use crate::limits;

/// What of a body is of interest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Keep {
    /// Its text: nothing is left out before the cap of a body.
    #[default]
    Text,
    /// Its members and how many there are: images, rankings.
    Shape,
    /// How many elements there are and how long the longest is: embeddings. All but the first are left out at once.
    Count,
}

/// What a squeezed text does not say itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Shape {
    /// Elements that were left out of arrays, by how deep they stood; the last entry has all that were deeper.
    pub dropped: [u64; 4],
    /// Numbers in the longest array of numbers.
    pub longest: u64,
    /// Bytes of the longest string.
    pub longest_string: u64,
    /// Something is missing that [`Keep`] asked for.
    pub lossy: bool,
}

#[derive(Debug, Default)]
struct Frame {
    array: bool,
    index: u64,
    scalars: u64,
    /// The next byte that is no space begins an element.
    expects: bool,
    kept: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Squeeze {
    keep: Keep,
    out: Vec<u8>,
    stack: Vec<Frame>,
    in_string: bool,
    escaped: bool,
    string_bytes: usize,
    string_cut: bool,
    string_length: u64,
    /// The depth of the array whose present element is left out.
    dropping: Option<usize>,
    values: usize,
    over: bool,
    shape: Shape,
}

/// The longest escape of one character, with its other half: `\ud83d\ude00`.
const ESCAPE_BYTES: usize = 12;

impl Squeeze {
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut data: &[u8]) {
        while let Some((&first, rest)) = data.split_first() {
            if self.over {
                return;
            }
            if self.in_string && !self.escaped {
                let plain = data.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let (text, tail) = data.split_at(plain.unwrap_or(data.len()));
                if !text.is_empty() {
                    self.text(text);
                    data = tail;
                    continue;
                }
            }
            if self.is_inside_dropped() {
                let plain = data.iter().position(|byte| b",]}\"[{".contains(byte));
                let (_, tail) = data.split_at(plain.unwrap_or(data.len()));
                if tail.len() < data.len() {
                    data = tail;
                    continue;
                }
            }
            match (self.in_string, self.escaped) {
                (true, true) => {
                    self.escaped = false;
                    self.text(&[first]);
                }
                (true, false) => self.string_mark(first),
                (false, _) => self.structure(first),
            }
            data = rest;
            if self.out.len() > limits::JSON_SQUEEZED_BYTES || self.stack.len() > limits::JSON_DEPTH {
                self.over = true;
                self.out = Vec::new();
            }
        }
    }

    /// The shorter text, or nothing when even its structure was over the cap.
    pub fn finish(mut self) -> (Vec<u8>, Shape) {
        self.shape.lossy |= self.over;
        (self.out, self.shape)
    }

    /// Room is short, so arrays are cut.
    fn tight(&self) -> bool {
        self.out.len() > limits::BODY_BYTES || self.values > limits::JSON_VALUES
    }

    fn string_limit(&self) -> usize {
        match self.keep {
            Keep::Text if self.tight() => limits::JSON_SHAPE_STRING_BYTES,
            Keep::Text => limits::BODY_BYTES,
            Keep::Shape | Keep::Count => limits::JSON_SHAPE_STRING_BYTES,
        }
    }

    /// Whether the next byte, unless it is a mark of the structure, says nothing.
    fn is_inside_dropped(&self) -> bool {
        let expects = self
            .stack
            .last()
            .is_some_and(|frame| frame.array && frame.expects);
        self.dropping.is_some() && !self.in_string && !expects
    }

    fn text(&mut self, text: &[u8]) {
        self.string_length = self.string_length.saturating_add(text.len() as u64);
        if self.dropping.is_some() {
            return;
        }
        let room = self.string_limit().saturating_sub(self.string_bytes);
        let kept = if self.string_cut { 0 } else { room.min(text.len()) };
        self.out.extend(text.iter().take(kept));
        self.string_bytes += kept;
        if kept < text.len() {
            self.string_cut = true;
            self.shape.lossy |= self.keep == Keep::Text;
        }
    }

    /// The end of a string, or the beginning of an escape in it.
    fn string_mark(&mut self, byte: u8) {
        if byte == b'"' {
            self.in_string = false;
            self.shape.longest_string = self.shape.longest_string.max(self.string_length);
            self.emit(b'"');
            return;
        }
        self.escaped = true;
        // An escape is kept whole or not at all.
        self.string_cut |= self.string_bytes + ESCAPE_BYTES > self.string_limit();
        self.text(&[byte]);
    }

    fn emit(&mut self, byte: u8) {
        if self.dropping.is_none() {
            self.out.push(byte);
        }
    }

    fn structure(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                // One separates what must not grow together; more say nothing.
                if self.out.last() != Some(&b' ') {
                    self.emit(b' ');
                }
            }
            b',' => self.next_element(),
            b']' | b'}' => self.close(byte),
            _ => {
                self.element(byte);
                match byte {
                    b'"' => {
                        (self.in_string, self.string_cut) = (true, false);
                        (self.string_bytes, self.string_length) = (0, 0);
                    }
                    b'[' | b'{' => self.stack.push(Frame {
                        array: byte == b'[',
                        expects: true,
                        ..Frame::default()
                    }),
                    _ => {}
                }
                self.emit(byte);
            }
        }
    }

    fn next_element(&mut self) {
        self.ends_drop();
        self.values += usize::from(self.dropping.is_none());
        match self.stack.last_mut() {
            // Its comma is written with the next element that is kept.
            Some(frame) if frame.array => {
                frame.index = frame.index.saturating_add(1);
                frame.expects = true;
            }
            _ => self.emit(b','),
        }
    }

    /// What is left out ends where its array goes on.
    fn ends_drop(&mut self) {
        if self.dropping == Some(self.stack.len()) {
            self.dropping = None;
        }
    }

    fn close(&mut self, byte: u8) {
        self.ends_drop();
        if let Some(frame) = self.stack.pop() {
            self.shape.longest = self.shape.longest.max(frame.scalars);
        }
        self.emit(byte);
    }

    /// The first byte of a value, if it is one of an array.
    fn element(&mut self, byte: u8) {
        let (tight, depth) = (self.tight(), self.stack.len());
        let Some(frame) = self.stack.last_mut().filter(|frame| frame.array && frame.expects) else {
            return;
        };
        frame.expects = false;
        let scalar = !matches!(byte, b'"' | b'[' | b'{');
        frame.scalars += u64::from(scalar);
        if self.dropping.is_some() {
            return;
        }
        let counted = match self.keep {
            Keep::Text => false,
            Keep::Shape => scalar,
            Keep::Count => true,
        };
        if frame.index >= limits::JSON_SHAPE_ELEMENTS && (tight || counted) {
            self.dropping = Some(depth);
            self.shape.lossy |= self.keep == Keep::Text;
            let last = self.shape.dropped.len() - 1;
            if let Some(dropped) = self.shape.dropped.get_mut(depth.min(last)) {
                *dropped = dropped.saturating_add(1);
            }
            return;
        }
        if std::mem::replace(&mut frame.kept, true) {
            self.out.push(b',');
        }
    }
}

/// The bytes of one JSON value: as they are while they are few, squeezed from then on.
#[derive(Debug, Default)]
pub struct Store {
    keep: Keep,
    whole: Vec<u8>,
    squeeze: Option<Box<Squeeze>>,
}

impl Store {
    pub fn new(keep: Keep) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    pub fn push(&mut self, data: &[u8]) {
        let whole_limit = self.whole_limit();
        match &mut self.squeeze {
            Some(squeeze) => squeeze.push(data),
            None if self.whole.len() + data.len() <= whole_limit => {
                self.whole.extend_from_slice(data);
            }
            None => {
                let mut squeeze = Squeeze::new(self.keep);
                squeeze.push(&std::mem::take(&mut self.whole));
                squeeze.push(data);
                self.squeeze = Some(Box::new(squeeze));
            }
        }
    }

    fn whole_limit(&self) -> usize {
        match self.keep {
            Keep::Text | Keep::Shape => limits::JSON_WHOLE_BYTES,
            Keep::Count => limits::JSON_COUNTED_BYTES,
        }
    }

    pub fn held(&self) -> usize {
        let squeezed = self.squeeze.as_ref().map_or(0, |squeeze| squeeze.out.len());
        self.whole.len() + squeezed
    }

    /// Gives up the value under way; it is lossy.
    pub fn release(&mut self) {
        if self.held() > 0 {
            self.whole = Vec::new();
            self.squeeze = Some(Box::new(Squeeze {
                over: true,
                ..Squeeze::new(self.keep)
            }));
        }
    }

    /// The text and what it leaves out; the store is empty then.
    pub fn take(&mut self) -> (Vec<u8>, Shape) {
        match self.squeeze.take() {
            Some(squeeze) => squeeze.finish(),
            None => (std::mem::take(&mut self.whole), Shape::default()),
        }
    }
}

#[cfg(test)]
mod tests;
