//! Forms with files (RFC 7578, RFC 2046 section 5.1): how audio and pictures are sent.
//!
//! In: bytes of the body as they come. Out: the text fields, and of each file its name's field, type, length and digest.
//! Never: a file's bytes in memory; more than [`limits::FORM_BYTES`] of fields; a difference by how the bytes were cut.

use super::body::mime;
use crate::call::Attachment;
use crate::limits;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Headers of one part.
const PART_HEAD_BYTES: usize = 8 * 1024;

#[derive(Debug)]
enum State {
    /// Before the first boundary, or behind the last.
    Outside,
    Head,
    Field(String),
    File {
        mime: String,
        bytes: u64,
        digest: Box<Sha256>,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Form {
    /// CRLF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// Bytes that may be the beginning of a delimiter, or a head under way.
    held: Vec<u8>,
    state: State,
    value: Vec<u8>,
    taken: usize,
    parts: usize,
    fields: Map<String, Value>,
    pub files: Vec<Attachment>,
    over: bool,
    ended: bool,
}

impl Form {
    /// For a request with this content type, if it is a form.
    pub fn new(content_type: Option<&str>) -> Option<Self> {
        let content_type = content_type?;
        if mime(Some(content_type)) != "multipart/form-data" {
            return None;
        }
        let boundary = parameter(content_type, "boundary")?;
        Some(Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line before it.
            held: b"\r\n".to_vec(),
            state: State::Outside,
            value: Vec::new(),
            taken: 0,
            parts: 0,
            fields: Map::new(),
            files: Vec::new(),
            over: false,
            ended: false,
        })
    }

    pub fn push(&mut self, data: &[u8]) {
        if self.ended {
            return;
        }
        self.held.extend_from_slice(data);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        while !self.ended {
            match self.step(rest) {
                Some(used) => rest = rest.get(used..).unwrap_or_default(),
                None => break,
            }
        }
        let used = held.len() - rest.len();
        held.drain(..used);
        self.held = held;
    }

    /// Takes what it can from the front; how much, or None when more is needed first.
    fn step(&mut self, bytes: &[u8]) -> Option<usize> {
        if matches!(self.state, State::Head) {
            return self.head(bytes);
        }
        let found = find(bytes, &self.delimiter);
        let clear = found.unwrap_or(bytes.len().saturating_sub(self.delimiter.len() - 1));
        self.content(bytes.get(..clear).unwrap_or_default());
        if found.is_none() {
            return (clear > 0).then_some(clear);
        }
        // Two hyphens behind the boundary end the form.
        let behind = clear + self.delimiter.len();
        let Some(mark) = bytes.get(behind..behind + 2) else {
            // What is before the delimiter is taken; it is found again with more bytes behind it.
            return (clear > 0).then_some(clear);
        };
        self.end_part();
        self.ended = mark == b"--";
        self.state = State::Head;
        Some(behind)
    }

    fn head(&mut self, bytes: &[u8]) -> Option<usize> {
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            if bytes.len() > PART_HEAD_BYTES {
                (self.over, self.ended) = (true, true);
            }
            return None;
        };
        self.parts += 1;
        if self.parts > limits::FORM_PARTS {
            (self.over, self.ended) = (true, true);
            return None;
        }
        self.state = part(bytes.get(..end).unwrap_or_default());
        Some(end + 4)
    }

    fn content(&mut self, data: &[u8]) {
        match &mut self.state {
            State::Outside | State::Head => {}
            State::Field(_) => {
                let room = limits::FORM_FIELD_BYTES
                    .saturating_sub(self.value.len())
                    .min(limits::FORM_BYTES.saturating_sub(self.taken));
                self.over |= data.len() > room;
                self.value.extend(data.iter().take(room));
                self.taken += room.min(data.len());
            }
            State::File { bytes, digest, .. } => {
                *bytes = bytes.saturating_add(data.len() as u64);
                digest.update(data);
            }
        }
    }

    fn end_part(&mut self) {
        match std::mem::replace(&mut self.state, State::Outside) {
            State::Outside | State::Head => {}
            State::Field(name) => {
                let text = String::from_utf8_lossy(&std::mem::take(&mut self.value)).into_owned();
                self.fields.insert(name, field(text));
            }
            State::File { mime, bytes, digest } => {
                let kind = match mime.split('/').next() {
                    Some("image") => "image",
                    Some("audio") => "audio",
                    Some("video") => "video",
                    _ => "file",
                };
                if self.files.len() < limits::ATTACHMENTS {
                    self.files.push(Attachment {
                        kind,
                        direction: "request",
                        source: "inline",
                        mime: (!mime.is_empty()).then_some(mime),
                        bytes: Some(bytes),
                        sha256: Some(digest.finalize().into()),
                    });
                }
            }
        }
    }

    pub fn held(&self) -> usize {
        self.held.len() + self.taken
    }

    /// Gives up what is under way; the form is not whole.
    pub fn release(&mut self) {
        (self.over, self.ended) = (true, true);
        (self.held, self.value) = (Vec::new(), Vec::new());
        self.fields.clear();
        self.taken = 0;
    }

    /// The fields as one JSON object; whether the form ended and nothing was over a cap.
    pub fn finish(self) -> (Value, Vec<Attachment>, bool) {
        (Value::Object(self.fields), self.files, self.ended && !self.over)
    }
}

/// A number or a truth value is one, so that fields read like members of a JSON body.
fn field(text: String) -> Value {
    match serde_json::from_str(&text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => Value::String(text),
    }
}

fn part(head: &[u8]) -> State {
    let text = String::from_utf8_lossy(head);
    let header = |name: &str| {
        text.split("\r\n").find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
    };
    let disposition = header("content-disposition").unwrap_or_default();
    let name = parameter(disposition, "name").unwrap_or_default();
    if parameter(disposition, "filename").is_some() {
        return State::File {
            mime: mime(header("content-type")),
            bytes: 0,
            digest: Box::default(),
        };
    }
    State::Field(limits::cut(name))
}

/// `name=value` or `name="value"` behind a semicolon.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (key.trim().eq_ignore_ascii_case(name) && !value.is_empty()).then_some(value)
    })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = what.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        let at = from + at;
        if bytes.get(at..)?.starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: &str = "multipart/form-data; boundary=\"x--y\"";
    const BODY: &[u8] =
        b"preamble\r\n--x--y\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--x--y\r\n\
        content-disposition: form-data; name=\"temperature\"\r\n\r\n0.5\r\n--x--y\r\n\
        Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
        RIFF\r\n--x-\r\n\r\n--x--y--\r\nepilogue";

    fn read(body: &[u8], cut: usize) -> (Value, Vec<Attachment>, bool) {
        let mut form = Form::new(Some(KIND)).unwrap();
        body.chunks(cut).for_each(|piece| form.push(piece));
        form.finish()
    }

    #[test]
    fn reads_fields_and_hashes_files_however_they_are_cut() {
        for cut in 1..BODY.len() {
            let (fields, files, whole) = read(BODY, cut);
            assert_eq!(
                fields,
                serde_json::json!({"model": "whisper", "temperature": 0.5}),
                "cut {cut}"
            );
            let file = &files[0];
            assert_eq!(
                (whole, file.kind, file.mime.as_deref(), file.bytes),
                (true, "audio", Some("audio/wav"), Some(12)),
                "cut {cut}"
            );
            assert_eq!(
                file.sha256,
                Some(Sha256::digest(b"RIFF\r\n--x-\r\n").into()),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn a_part_of_a_form_is_not_whole() {
        for keep in 0..BODY.len() - 12 {
            assert!(!read(&BODY[..keep], 7).2, "{keep} bytes");
        }
    }

    #[test]
    fn a_file_takes_no_memory() {
        let mut form = Form::new(Some(KIND)).unwrap();
        form.push(&BODY[..BODY.len() - 25]);
        for _ in 0..1000 {
            form.push(&[b'\r'; 65_536]);
            assert!(form.held.len() < 100 && form.held.capacity() < 200_000);
        }
    }

    proptest! {
        #[test]
        fn hostile_forms_do_no_harm(body in "(\r\n--x--y|--|\r\n\r\n|name=\"|;|filename=|content-disposition:|[a-z]){0,40}", cut in 1usize..9) {
            prop_assert_eq!(read(body.as_bytes(), cut), read(body.as_bytes(), body.len().max(1)));
        }
    }
}
