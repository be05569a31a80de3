//! Bodies of which only the first part is JSON (KServe's binary tensor extension).
//!
//! In: bytes of a body as they come. Out: its JSON, and the first bytes behind it. Never: more than [`limits::BINARY_BYTES`] of those.

use crate::http::Headers;
use crate::limits;

/// So many bytes of the body are JSON, the rest is tensors.
const JSON_LENGTH: &str = "inference-header-content-length";

#[derive(Debug, Default)]
pub struct Split {
    /// How many bytes of JSON are still to come; None when all is.
    left: Option<usize>,
    behind: Vec<u8>,
    over: bool,
}

impl Split {
    pub fn new(headers: &Headers) -> Self {
        Self {
            left: headers.first(JSON_LENGTH).and_then(|len| len.parse().ok()),
            ..Self::default()
        }
    }

    /// The part of `data` that is JSON; the rest is kept.
    pub fn json<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let Some(left) = &mut self.left else { return data };
        let (json, behind) = data.split_at((*left).min(data.len()));
        *left -= json.len();
        let room = limits::BINARY_BYTES.saturating_sub(self.behind.len());
        self.over |= behind.len() > room;
        self.behind.extend(behind.iter().take(room));
        json
    }

    pub fn held(&self) -> usize {
        self.behind.len()
    }

    /// Gives up what followed the JSON.
    pub fn release(&mut self) {
        self.over |= !self.behind.is_empty();
        self.behind = Vec::new();
    }

    /// What followed the JSON; None when there was nothing, or too much of it.
    pub fn behind(self) -> Option<Vec<u8>> {
        (!self.behind.is_empty() && !self.over).then_some(self.behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_where_the_json_ends() {
        let headers = Headers(vec![(JSON_LENGTH.into(), "3".into())]);
        for cut in 1..6 {
            let (mut split, mut json) = (Split::new(&headers), Vec::new());
            b"{ }tensor"
                .chunks(cut)
                .for_each(|piece| json.extend_from_slice(split.json(piece)));
            assert_eq!(
                (json.as_slice(), split.behind().as_deref()),
                (&b"{ }"[..], Some(&b"tensor"[..]))
            );
        }
        let mut all = Split::new(&Headers::default());
        assert_eq!((all.json(b"{ }tensor"), all.behind()), (&b"{ }tensor"[..], None));
    }
}
