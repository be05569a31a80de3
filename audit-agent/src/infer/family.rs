//! What an API family has to say, and the decoder that all of them share.
//!
//! The shared part knows statuses, framings, errors, caps and ends; a family knows the members of its JSON.
//! `docs/adding-an-api.md` goes through adding one.

use super::answer::Answer;
use super::binary::Split;
use super::body::{Body, mime};
use super::multipart::Form;
use super::squeeze::{Keep, Shape, Store};
use super::{Decoder, End, error, halves, headers, json};
use crate::call::{Attachment, Call, CallError};
use crate::http::{RequestHead, ResponseHead};
use serde_json::Value;

/// The note of a request of which texts were left out.
pub const REQUEST_SQUEEZED: &str = "request_over_cap";

/// One API family. Only [`Family::names`], [`Family::request`] and [`Family::event`] have to be there.
pub trait Family: Send + std::fmt::Debug + 'static {
    /// `Call::api` and `Call::operation`.
    fn names(&self) -> (&'static str, &'static str);

    /// Fills `call` from the request's JSON, or the fields of its form.
    fn request(&mut self, call: &mut Call, body: &Value);

    /// One event of a stream, or the whole plain answer; gives what it was.
    fn event(&mut self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event;

    /// The text that ends a stream besides an event that says so.
    fn terminator(&self) -> Option<&'static [u8]> {
        None
    }

    /// Whether streams have no mark of their end, so that the end of the body is it.
    fn ends_with_body(&self) -> bool {
        false
    }

    /// Whether a request may be a form (RFC 7578): elsewhere it is JSON, whatever its fields call it.
    fn takes_forms(&self) -> bool {
        false
    }

    /// What of the answer's body is of interest.
    fn keep(&self) -> Keep {
        Keep::Text
    }

    /// What follows the JSON of a request, by its header field.
    fn binary(&mut self, _call: &mut Call, _data: &[u8]) {}

    /// The same of an answer.
    fn binary_answer(&mut self, _call: &mut Call, _answer: &mut Answer, _data: &[u8]) {}

    /// A plain answer that is no JSON; false when the family has no such.
    fn text(&mut self, _answer: &mut Answer, _text: &str) -> bool {
        false
    }

    /// The exchange is over; the answer is not yet in `call`.
    fn finish(&mut self, _call: &mut Call, _answer: &mut Answer) {}
}

/// What an event was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// It carried text, reasoning or tool arguments.
    pub spoke: bool,
    /// It was the last one.
    pub last: bool,
}

impl Event {
    pub fn spoke(spoke: bool) -> Self {
        Self { spoke, last: false }
    }

    /// It was the last one, and nothing is missing behind it.
    pub fn last(spoke: bool) -> Self {
        Self { spoke, last: true }
    }
}

/// A decoder for one exchange of `family`.
pub fn decoder(family: impl Family, head: &RequestHead) -> Box<dyn Decoder> {
    let (api, operation) = family.names();
    let mut call = Call {
        api,
        operation,
        ..Call::default()
    };
    headers::request(&mut call, head);
    let content_type = head.headers.first("content-type");
    let asked = match Form::new(content_type).filter(|_| family.takes_forms()) {
        Some(form) => Asked::Form(Box::new(form)),
        None => Asked::Json(Store::default()),
    };
    Box::new(Reader {
        family,
        call,
        answer: Answer::default(),
        asked,
        asked_split: Split::new(&head.headers),
        split: Split::default(),
        has_body: !mime(content_type).is_empty() || head.method != "GET",
        status: None,
        body: Body::default(),
        ended: false,
    })
}

#[derive(Debug)]
enum Asked {
    Json(Store),
    Form(Box<Form>),
}

#[derive(Debug)]
struct Reader<F> {
    family: F,
    call: Call,
    answer: Answer,
    asked: Asked,
    asked_split: Split,
    split: Split,
    has_body: bool,
    status: Option<u16>,
    body: Body,
    /// A terminator, or an event that is one, was seen.
    ended: bool,
}

impl<F: Family> Decoder for Reader<F> {
    fn request_body(&mut self, data: &[u8]) {
        let text = self.asked_split.json(data);
        match &mut self.asked {
            Asked::Json(store) => store.push(text),
            Asked::Form(form) => form.push(text),
        }
    }

    fn request_end(&mut self, complete: bool) {
        let asked = std::mem::replace(&mut self.asked, Asked::Json(Store::default()));
        match asked {
            Asked::Json(store) => self.asked_json(store, complete),
            Asked::Form(form) => {
                let (fields, files, whole) = form.finish();
                self.call.attachments = files;
                self.family.request(&mut self.call, &fields);
                if !(whole && complete) {
                    self.call.note("request_not_whole");
                    self.call.prompt_canonical = None;
                }
            }
        }
        let binary = std::mem::take(&mut self.asked_split).behind();
        if let Some(binary) = binary.filter(|_| complete) {
            self.family.binary(&mut self.call, &binary);
        }
    }

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        self.body = Body::new(head, self.family.keep());
        self.split = Split::new(&head.headers);
        headers::response(&mut self.call, head);
    }

    fn response_body(&mut self, data: &[u8], time_ns: u64) {
        let data = self.split.json(data);
        let mut body = std::mem::take(&mut self.body);
        body.push(data, |event, shape| self.event(event, shape, true, time_ns));
        self.body = body;
    }

    fn prompt(&self) -> Option<&[u8]> {
        self.call.prompt_canonical.as_deref()
    }

    fn held(&self) -> usize {
        let asked = match &self.asked {
            Asked::Json(store) => store.held(),
            Asked::Form(form) => form.held(),
        };
        let binary = self.asked_split.held() + self.split.held();
        asked + binary + self.call.held() + self.body.held() + self.answer.held()
    }

    fn release(&mut self) {
        match &mut self.asked {
            Asked::Json(store) => store.release(),
            Asked::Form(form) => form.release(),
        }
        self.asked_split.release();
        self.split.release();
        self.call.release();
        self.body.release();
        self.answer.release();
    }

    fn finish(mut self: Box<Self>, end: End) -> Call {
        let mut body = std::mem::take(&mut self.body);
        let streamed = body.is_stream();
        let failed = self.status.is_some_and(|status| status >= 400);
        let time_ns = self.answer.last_token_ns.unwrap_or_default();
        let had_noise = self.call.notes.contains(&RESPONSE_NOT_JSON);
        let over_cap = body.finish(|event, shape| match streamed {
            false if failed => {
                self.call.error = Some(error::of_status(self.status.unwrap_or_default(), event))
            }
            // A stream's rest without its empty line may be a part: only a whole value is read.
            true | false => self.event(event, shape, streamed, time_ns),
        });
        if end != End::Complete && !had_noise {
            // The last event of a stream that broke off is a part, and the end says so.
            self.call.notes.retain(|note| *note != RESPONSE_NOT_JSON);
        }
        if over_cap {
            self.call.note(RESPONSE_SQUEEZED);
        }
        if let Body::Media(media) = body {
            self.media(media, end);
        }
        if let Some(binary) = std::mem::take(&mut self.split)
            .behind()
            .filter(|_| end == End::Complete)
        {
            self.family
                .binary_answer(&mut self.call, &mut self.answer, &binary);
        }
        self.call.stream = self.status.map(|_| streamed).or(self.call.stream);
        self.family.finish(&mut self.call, &mut self.answer);
        self.conclude(end, streamed, failed);
        // A client may hang up once it has read the terminator: nothing of the answer is missing then.
        let told = end == End::Complete || (end == End::Aborted && self.ended);
        let whole = told && self.call.error.is_none() && !self.call.notes.contains(&RESPONSE_SQUEEZED);
        let Self { mut call, answer, .. } = *self;
        answer.finish(&mut call, whole);
        call
    }
}

const RESPONSE_SQUEEZED: &str = "response_over_cap";
const RESPONSE_NOT_JSON: &str = "response_not_json";

impl<F: Family> Reader<F> {
    fn asked_json(&mut self, mut store: Store, complete: bool) {
        let (bytes, shape) = store.take();
        let value = json::parse(&bytes).filter(|value| complete && (value.is_object() || value.is_array()));
        if shape.lossy {
            self.call.note(REQUEST_SQUEEZED);
        }
        if value.as_ref().is_some_and(json::has_other_case) {
            self.call.note("request_names_other_case");
        }
        match value {
            Some(value) => self.family.request(&mut self.call, &value),
            None if !complete => self.call.note("request_not_whole"),
            None if shape.lossy || (bytes.is_empty() && !self.has_body) => {}
            None if bytes.is_empty() => self.call.note("request_empty"),
            None => self.call.note("request_not_json"),
        }
        if shape.lossy {
            // The hash of a part would be the hash of another prompt.
            self.call.prompt_canonical = None;
        }
    }

    fn event(&mut self, bytes: &[u8], shape: Shape, streamed: bool, time_ns: u64) {
        if shape.lossy {
            self.call.note(RESPONSE_SQUEEZED);
        }
        if self
            .family
            .terminator()
            .is_some_and(|terminator| bytes.trim_ascii() == terminator)
        {
            self.ended = true;
            return;
        }
        let parsed = match streamed {
            true => json::parse_marked(bytes),
            false => json::parse(bytes).map(|value| (value, false)),
        };
        let Some((value, marked)) = parsed else {
            let text = String::from_utf8_lossy(bytes);
            if !bytes.is_empty() && (streamed || !self.family.text(&mut self.answer, &text)) {
                self.call.note(RESPONSE_NOT_JSON);
            }
            return;
        };
        if let Some(error) = error::of_body(&value) {
            self.call.error.get_or_insert(error);
        }
        self.answer.shape = shape;
        self.answer.marked(marked);
        let event = self
            .family
            .event(&mut self.call, &mut self.answer, &value, streamed);
        if marked {
            halves::settle_call(&mut self.call);
        }
        self.ended |= event.last;
        if event.spoke && streamed {
            self.answer.spoke_at(time_ns);
        }
    }

    fn media(&mut self, media: super::body::Media, end: End) {
        use sha2::Digest;
        let kind = match media.mime.split('/').next() {
            Some("image") => "image",
            Some("video") => "video",
            _ => "audio",
        };
        let digest = media.digest.finalize();
        super::parts::add(
            &mut self.call,
            Attachment {
                kind,
                direction: "response",
                source: "inline",
                mime: Some(media.mime),
                bytes: Some(media.bytes),
                sha256: (end == End::Complete).then(|| digest.into()),
            },
        );
    }

    /// Names what went wrong if the server did not.
    fn conclude(&mut self, end: End, streamed: bool, failed: bool) {
        let kind = match end {
            _ if self.call.error.is_some() => return,
            _ if failed => format!("http_{}", self.status.unwrap_or_default()),
            End::Aborted if self.ended => return,
            End::Aborted => "client_abort".to_owned(),
            End::Complete if !streamed || self.family.ends_with_body() => return,
            End::Complete if !self.ended && !self.answer.finished() => "no_terminator".to_owned(),
            _ => return,
        };
        self.call.error = Some(CallError { kind, message: None });
    }
}
