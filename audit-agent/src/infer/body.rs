//! The body of an answer, whichever way it is framed: one JSON value, or one for each event of a stream.

use crate::http::ResponseHead;
use crate::http::ndjson::NdJson;
use crate::http::sse::Sse;
use crate::limits;

#[derive(Debug)]
pub enum Body {
    Plain { bytes: Vec<u8>, over_cap: bool },
    Events(Sse),
    Lines(NdJson),
}

impl Default for Body {
    fn default() -> Self {
        Self::Plain {
            bytes: Vec::new(),
            over_cap: false,
        }
    }
}

impl Body {
    /// By what the response says that it is, not by what the request asked for.
    pub fn new(head: &ResponseHead) -> Self {
        let kind = head
            .headers
            .first("content-type")
            .unwrap_or_default()
            .to_ascii_lowercase();
        match kind.split(';').next().unwrap_or_default().trim() {
            "text/event-stream" => Self::Events(Sse::default()),
            "application/x-ndjson" | "application/jsonl" => Self::Lines(NdJson::default()),
            _ => Self::default(),
        }
    }

    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Plain { .. })
    }

    /// The next bytes; `each` gets every event of a stream that is now whole.
    pub fn push(&mut self, data: &[u8], each: impl FnMut(&[u8])) {
        match self {
            Self::Plain { bytes, over_cap } => {
                let room = limits::BODY_BYTES - bytes.len().min(limits::BODY_BYTES);
                *over_cap |= data.len() > room;
                bytes.extend(data.iter().take(room));
            }
            Self::Events(sse) => sse.push(data, each),
            Self::Lines(lines) => lines.push(data, each),
        }
    }

    /// The rest of a stream, or the whole plain body; gives what was too long, by name.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) -> Option<&'static str> {
        let dropped = match self {
            Self::Plain { bytes, over_cap } => {
                each(bytes);
                u64::from(*over_cap)
            }
            Self::Events(sse) => {
                sse.finish(each);
                sse.dropped
            }
            Self::Lines(lines) => {
                lines.finish(each);
                lines.dropped
            }
        };
        (dropped > 0).then_some("response_over_cap")
    }
}
