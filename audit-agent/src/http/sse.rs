//! Server-sent events (WHATWG HTML, section 9.2.6): body bytes in, the data of each event out.
//!
//! Line ends are LF, CRLF or CR; several data lines are joined by LF; comments, `id` and `retry` are passed by.
//! Never: more than [`limits::STREAM_LINE_BYTES`] of one line or one event; what is longer is counted and dropped.

use crate::limits;

#[derive(Debug, Default)]
pub struct Sse {
    line: Vec<u8>,
    /// Data lines of the event under way.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR, so an LF that follows belongs to it.
    after_cr: bool,
    started: bool,
    overlong: bool,
    /// Events that were over the cap.
    pub dropped: u64,
}

impl Sse {
    /// Takes the next bytes; `each` gets the data of every event that ends in them.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (part, rest) = bytes.split_at(end);
            let cr = rest.first() == Some(&b'\r');
            if self.after_cr && part.is_empty() && !cr {
                // The second half of a CRLF that was cut.
                self.after_cr = false;
            } else {
                self.after_cr = cr;
                self.end_line(part, &mut each);
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        if !bytes.is_empty() {
            self.after_cr = false;
            self.hold(bytes);
        }
    }

    /// The body is over: an event without its empty line is given too, as some servers end like that.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            self.end_line(&[], &mut each);
        }
        self.dispatch(&mut each);
    }

    pub fn held(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// Gives up the event under way; it is counted.
    pub fn release(&mut self) {
        self.dropped += u64::from(std::mem::take(&mut self.has_data));
        self.overlong |= !self.line.is_empty();
        (self.line, self.data) = (Vec::new(), Vec::new());
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > limits::STREAM_LINE_BYTES {
            self.overlong = true;
        }
        if !self.overlong {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, part: &[u8], each: &mut impl FnMut(&[u8])) {
        if self.line.is_empty() && !self.overlong && self.started {
            self.take_line(part, each);
            return;
        }
        self.hold(part);
        let line = std::mem::take(&mut self.line);
        let bom = !self.started && line.starts_with(b"\xef\xbb\xbf");
        self.take_line(line.get(if bom { 3 } else { 0 }..).unwrap_or_default(), each);
        self.line = line;
        self.line.clear();
    }

    fn take_line(&mut self, line: &[u8], each: &mut impl FnMut(&[u8])) {
        self.started = true;
        if std::mem::take(&mut self.overlong) {
            self.dropped += 1;
            return;
        }
        if line.is_empty() {
            self.dispatch(each);
            return;
        }
        let value = match line.strip_prefix(b"data") {
            Some([]) => &[][..],
            Some([b':', b' ', value @ ..] | [b':', value @ ..]) => value,
            _ => return,
        };
        if self.data.len() + value.len() > limits::STREAM_LINE_BYTES {
            self.dropped += 1;
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        self.data.extend_from_slice(value);
    }

    fn dispatch(&mut self, each: &mut impl FnMut(&[u8])) {
        if std::mem::take(&mut self.has_data) {
            each(&self.data);
            self.data.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut sse = Sse::default();
        let mut out = Vec::new();
        for piece in pieces {
            sse.push(piece, |data| out.push(String::from_utf8_lossy(data).into_owned()));
        }
        sse.finish(|data| out.push(String::from_utf8_lossy(data).into_owned()));
        out
    }

    #[test]
    fn takes_every_line_end_and_form_of_data() {
        let body = b"\xef\xbb\xbfdata: a\n\ndata:b\r\n\r\n: ping - x\r\n\r\ndata: c\ndata: d\rid: 3\r\revent: x\ndata\n\n";
        assert_eq!(events(&[body]), ["a", "b", "c\nd", ""]);
    }

    #[test]
    fn gives_a_last_event_without_an_empty_line() {
        assert_eq!(events(&[b"data: a\n\ndata: [DONE]"]), ["a", "[DONE]"]);
    }

    #[test]
    fn drops_and_counts_what_is_over_the_cap() {
        let mut sse = Sse::default();
        let long = vec![b'x'; limits::STREAM_LINE_BYTES + 1];
        let mut got = Vec::new();
        for piece in [b"data: ", long.as_slice(), b"\n\ndata: ok\n\n"] {
            sse.push(piece, |data| got.push(data.to_vec()));
        }
        assert_eq!((got, sse.dropped), (vec![b"ok".to_vec()], 1));
    }

    proptest! {
        #[test]
        fn any_cutting_gives_the_same_events(
            body in "(data: ?[a-z]{0,5}|:c|\r|\n|\r\n|event: e){0,40}",
            cuts in proptest::collection::vec(1usize..6, 1..40),
        ) {
            let mut rest = body.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, tail) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = tail;
            }
            prop_assert_eq!(events(&pieces), events(&[body.as_bytes()]));
        }
    }
}
