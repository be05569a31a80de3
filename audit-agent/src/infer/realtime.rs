//! OpenAI realtime: a session on a WebSocket in which each response is a call of its own.
//!
//! In: JSON events of both sides. Out: one [`Call`] for each response, from what asked for it to `response.done`; a session
//! without any response gives one call that says so. Never: sound, of which transcripts and lengths are kept.
//!
//! Source: the OpenAI API reference (realtime client and server events, with the names of the beta beside them).

use super::answer::Answer;
use super::{Decoder, End, Ended, Message, Side, headers, json, openai_chat, parts, request, responses};
use crate::call::{Call, CallError};
use crate::http::{RequestHead, ResponseHead, target};
use crate::limits::{self, cut};
use serde_json::Value;

/// What the response that is under way has so far.
#[derive(Debug)]
struct Open {
    answer: Answer,
    call: Call,
    start_ns: u64,
    asked_ns: u64,
    lost: bool,
}

#[derive(Debug)]
pub struct Realtime {
    /// What holds for every call of the session.
    session: Call,
    /// Items of the conversation since the last response, and their bytes.
    items: Vec<Value>,
    items_bytes: usize,
    /// When the first of them came.
    first_ns: Option<u64>,
    open: Option<Box<Open>>,
    ended: Vec<Ended>,
    calls: u64,
    status: Option<u16>,
    /// Messages are missing since the last response.
    lost: bool,
}

impl Realtime {
    pub fn decoder(head: &RequestHead) -> Box<dyn Decoder> {
        let mut session = Call {
            api: "openai_realtime",
            operation: "chat",
            stream: Some(true),
            ..Call::default()
        };
        headers::request(&mut session, head);
        let model = target::query(&head.target, &["model"]);
        session.model_requested = model.as_deref().map(cut);
        Box::new(Self {
            session,
            items: Vec::new(),
            items_bytes: 0,
            first_ns: None,
            open: None,
            ended: Vec::new(),
            calls: 0,
            status: None,
            lost: false,
        })
    }

    fn client(&mut self, event: &Value, bytes: usize, time_ns: u64) {
        self.first_ns.get_or_insert(time_ns);
        match json::text(event, "type").unwrap_or_default() {
            "session.update" => {
                if let Some(session) = event.get("session") {
                    let model = self.session.model_requested.take();
                    request::common(&mut self.session, session);
                    self.session.model_requested = self.session.model_requested.take().or(model);
                    self.session.stream = Some(true);
                }
            }
            "conversation.item.create" => {
                self.items_bytes = self.items_bytes.saturating_add(bytes);
                if let Some(item) = event
                    .get("item")
                    .filter(|_| self.items_bytes <= limits::BODY_BYTES)
                {
                    self.items.push(item.clone());
                }
            }
            "response.create" => self.begin(time_ns, event.get("response")),
            "response.cancel" => {
                if let Some(open) = &mut self.open {
                    open.call.note("cancelled_by_client");
                }
            }
            _ => {}
        }
    }

    /// A response is asked for, or comes of itself when the server heard the end of what was spoken.
    fn begin(&mut self, time_ns: u64, asked: Option<&Value>) {
        if self.open.is_some() {
            return;
        }
        let mut call = self.session.clone();
        if let Some(asked) = asked {
            request::params(&mut call, asked);
        }
        let items = Value::Array(std::mem::take(&mut self.items));
        parts::messages(&mut call, &items);
        // Sound that was spoken and what was said before belong to the prompt too, and are not in these items.
        let whole = !self.lost && self.items_bytes <= limits::BODY_BYTES;
        call.prompt_canonical = Some(items)
            .filter(|items| whole && json::elements(Some(items)).next().is_some())
            .and_then(|items| request::canonical(&items));
        if self.items_bytes > limits::BODY_BYTES {
            call.note("request_over_cap");
        }
        self.items_bytes = 0;
        self.open = Some(Box::new(Open {
            answer: Answer::default(),
            call,
            start_ns: self.first_ns.take().unwrap_or(time_ns),
            asked_ns: time_ns,
            lost: std::mem::take(&mut self.lost),
        }));
    }

    fn server(&mut self, event: &Value, time_ns: u64) {
        let kind = json::text(event, "type").unwrap_or_default();
        match kind {
            "session.created" | "session.updated" => {
                let model = event
                    .get("session")
                    .and_then(|session| json::word_of(session, "model"));
                self.session.model_served = model.or(self.session.model_served.take());
            }
            "response.created" => self.begin(time_ns, None),
            "error" => self.error(event),
            _ => {}
        }
        let Some(open) = &mut self.open else { return };
        let piece = json::text(event, "delta").unwrap_or_default();
        let spoke = match kind {
            "response.output_text.delta"
            | "response.text.delta"
            | "response.output_audio_transcript.delta"
            | "response.audio_transcript.delta" => open.answer.text(0, piece),
            "response.function_call_arguments.delta"
            | "response.output_audio.delta"
            | "response.audio.delta" => !piece.is_empty(),
            _ => false,
        };
        if spoke {
            open.answer.spoke_at(time_ns);
        }
        if kind == "response.done" {
            self.done(event.get("response").unwrap_or(event));
        }
    }

    fn error(&mut self, event: &Value) {
        let error = event.get("error").unwrap_or(event);
        let said = CallError {
            kind: cut(json::text(error, "type")
                .or_else(|| json::text(error, "code"))
                .unwrap_or("error")),
            message: json::word_of(error, "message"),
        };
        let call = self
            .open
            .as_mut()
            .map_or(&mut self.session, |open| &mut open.call);
        call.error.get_or_insert(said);
    }

    /// The last event has the whole answer.
    fn done(&mut self, response: &Value) {
        let Some(mut open) = self.open.take() else { return };
        if json::list(response, "output").next().is_some() {
            open.answer.restart();
        }
        openai_chat::identity(&mut open.call, response);
        responses::whole(&mut open.call, &mut open.answer, response);
        if let Some(error) =
            json::at(response, &["status_details", "error"]).filter(|error| error.is_object())
        {
            open.call.error = Some(CallError {
                kind: cut(json::text(error, "type").unwrap_or("failed")),
                message: json::word_of(error, "message").or_else(|| json::word_of(error, "code")),
            });
        }
        let end = if open.lost { End::Partial } else { End::Complete };
        self.end(*open, end);
    }

    fn end(&mut self, open: Open, end: End) {
        let Open {
            answer,
            mut call,
            start_ns,
            asked_ns,
            ..
        } = open;
        let whole = end == End::Complete && call.error.is_none();
        answer.finish(&mut call, whole);
        self.calls += 1;
        self.ended.push(Ended {
            call,
            end,
            start_ns,
            asked_ns,
        });
    }
}

impl Decoder for Realtime {
    fn request_body(&mut self, _data: &[u8]) {}

    fn request_end(&mut self, _complete: bool) {}

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        headers::response(&mut self.session, head);
    }

    fn response_body(&mut self, _data: &[u8], _time_ns: u64) {}

    fn message(&mut self, message: Message<'_>) {
        let parsed = match message.from {
            Side::Client => json::parse(message.data).map(|event| (event, false)),
            Side::Server => json::parse_marked(message.data),
        };
        let Some((event, marked)) = parsed.filter(|(event, _)| !message.binary && event.is_object()) else {
            return self.session.note("message_not_json");
        };
        if let Some(open) = &mut self.open {
            open.answer.marked(marked);
        }
        match message.from {
            Side::Client => self.client(&event, message.data.len(), message.time_ns),
            Side::Server => self.server(&event, message.time_ns),
        }
    }

    fn message_lost(&mut self, _from: Side) {
        match &mut self.open {
            Some(open) => open.lost = true,
            None => self.lost = true,
        }
    }

    fn calls(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    fn has_call(&self) -> bool {
        self.open.is_some() || self.calls == 0
    }

    /// What is left: a response that did not come to its end, or a session in which nothing was asked.
    fn finish(mut self: Box<Self>, end: End) -> Call {
        let Some(mut open) = self.open.take() else {
            let mut call = self.session;
            call.operation = "session";
            if let Some(status) = self.status.filter(|status| *status >= 400) {
                call.error.get_or_insert(CallError {
                    kind: format!("http_{status}"),
                    message: None,
                });
            }
            return call;
        };
        let kind = if end == End::Aborted {
            "client_abort"
        } else {
            "no_terminator"
        };
        open.call.error.get_or_insert(CallError {
            kind: kind.into(),
            message: None,
        });
        open.answer.finish(&mut open.call, false);
        open.call
    }
}

#[cfg(test)]
mod tests;
