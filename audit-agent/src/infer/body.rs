//! The body of an answer, whichever way it is framed: one JSON value, or one for each event of a stream, or media.

use super::squeeze::{Keep, Shape, Store};
use crate::http::ResponseHead;
use crate::http::sse::Sse;
use crate::limits;
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub enum Body {
    Plain(Store),
    Events(Sse),
    /// Newline-delimited JSON.
    Lines(Store),
    Media(Media),
}

/// Sound or a picture.
#[derive(Debug)]
pub struct Media {
    pub mime: String,
    pub bytes: u64,
    pub digest: Sha256,
}

impl Default for Body {
    fn default() -> Self {
        Self::Plain(Store::default())
    }
}

impl Body {
    /// By what the response says that it is, not by what the request asked for.
    pub fn new(head: &ResponseHead, keep: Keep) -> Self {
        let kind = mime(head.headers.first("content-type"));
        match kind.as_str() {
            "text/event-stream" => Self::Events(Sse::default()),
            "application/x-ndjson" | "application/jsonl" => Self::Lines(Store::new(keep)),
            _ if ["audio/", "image/", "video/"]
                .iter()
                .any(|class| kind.starts_with(class)) =>
            {
                Self::Media(Media {
                    mime: kind,
                    bytes: 0,
                    digest: Sha256::new(),
                })
            }
            _ => Self::Plain(Store::new(keep)),
        }
    }

    pub fn is_stream(&self) -> bool {
        matches!(self, Self::Events(_) | Self::Lines(_))
    }

    /// The next bytes; `each` gets every event of a stream that is now whole.
    pub fn push(&mut self, data: &[u8], mut each: impl FnMut(&[u8], Shape)) {
        match self {
            Self::Plain(store) => store.push(data),
            Self::Events(sse) => sse.push(data, |event| each(event, Shape::default())),
            Self::Lines(store) => {
                for piece in data.split_inclusive(|byte| *byte == b'\n') {
                    store.push(piece);
                    if piece.ends_with(b"\n") {
                        line(store, &mut each);
                    }
                }
            }
            Self::Media(media) => {
                media.bytes = media.bytes.saturating_add(data.len() as u64);
                media.digest.update(data);
            }
        }
    }

    pub fn held(&self) -> usize {
        match self {
            Self::Plain(store) | Self::Lines(store) => store.held(),
            Self::Events(sse) => sse.held(),
            Self::Media(_) => 0,
        }
    }

    /// Gives up what is under way, so that it is too long to be read.
    pub fn release(&mut self) {
        match self {
            Self::Plain(store) | Self::Lines(store) => store.release(),
            Self::Events(sse) => sse.release(),
            Self::Media(_) => {}
        }
    }

    /// The rest of a stream, or the whole plain body; true when an event was too long to be read.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8], Shape)) -> bool {
        match self {
            Self::Plain(store) => {
                let (bytes, shape) = store.take();
                each(&bytes, shape);
                shape.lossy
            }
            Self::Events(sse) => {
                sse.finish(|event| each(event, Shape::default()));
                sse.dropped > 0
            }
            Self::Lines(store) => {
                line(store, &mut each);
                false
            }
            Self::Media(_) => false,
        }
    }
}

fn line(store: &mut Store, each: &mut impl FnMut(&[u8], Shape)) {
    let (bytes, shape) = store.take();
    let text = bytes.trim_ascii();
    if !text.is_empty() || shape.lossy {
        each(text, shape);
    }
}

/// A content type without its parameters, in lower case.
pub fn mime(content_type: Option<&str>) -> String {
    let kind = content_type.unwrap_or_default().split(';').next();
    limits::cut(kind.unwrap_or_default().trim()).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Headers, ResponseHead};

    #[test]
    fn gives_lines_however_they_are_cut() {
        let text = b"{\"a\":1}\r\n\n{\"b\":2}\n{\"c\":3}";
        for cut in 1..text.len() {
            let headers = Headers(vec![("content-type".into(), "application/x-ndjson".into())]);
            let head = ResponseHead {
                status: 200,
                version: crate::http::HttpVersion::Http11,
                headers,
            };
            let (mut body, mut got) = (Body::new(&head, Keep::Text), Vec::new());
            for piece in text.chunks(cut) {
                body.push(piece, |line, _| got.push(line.to_vec()));
            }
            body.finish(|line, _| got.push(line.to_vec()));
            assert_eq!(got, [&b"{\"a\":1}"[..], b"{\"b\":2}", b"{\"c\":3}"], "cut {cut}");
        }
    }
}
