//! What an API family has to say, and the decoder that all of them share.
//!
//! The shared part knows statuses, framings, errors and ends; a family knows the members of its JSON.

use super::answer::Answer;
use super::body::Body;
use super::{Decoder, End, error, json};
use crate::call::{Call, CallError};
use crate::http::ResponseHead;
use serde_json::Value;

/// One API family.
pub trait Family: Send + std::fmt::Debug + 'static {
    /// `Call::api` and `Call::operation`.
    fn names(&self) -> (&'static str, &'static str);

    /// Fills `call` from the request's JSON.
    fn request(&self, call: &mut Call, body: &Value);

    /// One event of a stream, or the whole plain answer; gives what it was.
    fn event(&self, call: &mut Call, answer: &mut Answer, event: &Value, streamed: bool) -> Event;

    /// The text that ends a stream besides an event that says so.
    fn terminator(&self) -> Option<&'static [u8]>;
}

/// What an event was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Event {
    /// It carried text, reasoning or tool arguments.
    pub spoke: bool,
    /// It was the last one.
    pub last: bool,
}

/// A decoder for one exchange of `family`.
pub fn decoder(family: impl Family) -> Box<dyn Decoder> {
    let (api, operation) = family.names();
    let call = Call {
        api,
        operation,
        ..Call::default()
    };
    Box::new(Reader {
        family,
        call,
        answer: Answer::default(),
        status: None,
        body: Body::default(),
        ended: false,
    })
}

#[derive(Debug)]
struct Reader<F> {
    family: F,
    call: Call,
    answer: Answer,
    status: Option<u16>,
    body: Body,
    /// A terminator, or an event that is one, was seen.
    ended: bool,
}

impl<F: Family> Decoder for Reader<F> {
    fn request(&mut self, body: &[u8], complete: bool) {
        match json::parse(body).filter(|_| complete) {
            Some(value) if value.is_object() => self.family.request(&mut self.call, &value),
            _ if !complete => self.call.notes.push("request_not_whole"),
            _ if body.is_empty() => self.call.notes.push("request_empty"),
            _ => self.call.notes.push("request_not_json"),
        }
    }

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        self.body = Body::new(head);
        if head.headers.first("server") == Some("llama.cpp") {
            self.call.provider = Some("llama_cpp");
        }
    }

    fn response_body(&mut self, data: &[u8], time_ns: u64) {
        let mut body = std::mem::take(&mut self.body);
        body.push(data, |event| self.event(event, true, time_ns));
        self.body = body;
    }

    fn prompt(&self) -> Option<&[u8]> {
        self.call.prompt_canonical.as_deref()
    }

    fn finish(mut self: Box<Self>, end: End) -> Call {
        let mut body = std::mem::take(&mut self.body);
        let streamed = body.is_stream();
        let failed = self.status.is_some_and(|status| status >= 400);
        let time_ns = self.answer.last_token_ns.unwrap_or_default();
        let note = body.finish(|event| match streamed {
            false if failed => {
                self.call.error = Some(error::of_status(self.status.unwrap_or_default(), event))
            }
            // A stream's rest without its empty line may be a part: only a whole value is read.
            true | false => self.event(event, streamed, time_ns),
        });
        self.call.notes.extend(note);
        self.call.stream = self.status.map(|_| streamed).or(self.call.stream);
        self.conclude(end, streamed, failed);
        self.call.notes.dedup();
        // A client may hang up once it has read the terminator: nothing of the answer is missing then.
        let told = end == End::Complete || (end == End::Aborted && self.ended);
        let whole = told && self.call.error.is_none() && note.is_none();
        let Self { mut call, answer, .. } = *self;
        answer.finish(&mut call, whole);
        call
    }
}

impl<F: Family> Reader<F> {
    fn event(&mut self, bytes: &[u8], streamed: bool, time_ns: u64) {
        if self
            .family
            .terminator()
            .is_some_and(|terminator| bytes.trim_ascii() == terminator)
        {
            self.ended = true;
            return;
        }
        let Some(value) = json::parse(bytes) else {
            if !bytes.is_empty() {
                self.call.notes.push("response_not_json");
            }
            return;
        };
        if let Some(error) = error::of_body(&value) {
            self.call.error.get_or_insert(error);
            return;
        }
        let event = self
            .family
            .event(&mut self.call, &mut self.answer, &value, streamed);
        self.ended |= event.last;
        if event.spoke && streamed {
            self.answer.spoke_at(time_ns);
        }
    }

    /// Names what went wrong if the server did not.
    fn conclude(&mut self, end: End, streamed: bool, failed: bool) {
        let kind = match end {
            _ if self.call.error.is_some() => return,
            _ if failed => format!("http_{}", self.status.unwrap_or_default()),
            End::Aborted if self.ended => return,
            End::Aborted => "client_abort".to_owned(),
            End::Complete if streamed && !self.ended && !self.answer.finished() => "no_terminator".to_owned(),
            _ => return,
        };
        self.call.error = Some(CallError { kind, message: None });
    }
}
