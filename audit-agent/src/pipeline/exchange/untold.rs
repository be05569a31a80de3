//! Answers whose Content-Type is among the fields that are not known.
//!
//! In: a partial head, then the first byte of the body. Out: the head as a decoder has to see it. Never: a field of a record.
//!
//! The first byte tells a stream of events from everything else that servers answer: its lines begin with the name of a field
//! or with a colon, JSON with neither.

use crate::http::ResponseHead;
use crate::infer::Decoder;

/// A head that waits for its body.
#[derive(Debug, Default)]
pub struct Untold(Option<ResponseHead>);

impl Untold {
    /// Hands the head on, or keeps it when the body has to tell what it is.
    pub fn head(&mut self, head: ResponseHead, partial: bool, decoder: &mut dyn Decoder) {
        if partial && head.headers.first("content-type").is_none() {
            self.0 = Some(head);
        } else {
            decoder.response(&head);
        }
    }

    /// The next bytes of the body, or its end without any.
    pub fn body(&mut self, data: &[u8], decoder: &mut dyn Decoder) {
        let Some(mut head) = self.0.take() else { return };
        if let Some(b'd' | b'e' | b'i' | b'r' | b':') = data.first() {
            let field = ("content-type".into(), "text/event-stream".into());
            head.headers.0.push(field);
        }
        decoder.response(&head);
    }
}
