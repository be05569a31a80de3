//! One exchange under way, and what is left of it when it is over.
//!
//! In: HTTP events of one connection with their times. Out: [`Finished`] exchanges that were calls to a model.
//! Never: a secret: API keys are hashed as their head is read.

mod finished;
mod identity;
mod messages;
mod room;
mod untold;

use crate::call::CallError;
use crate::http::{BodyEnd, BodyState, HttpEvent, RequestHead};
use crate::infer::{self, Classified, Decoder, End};
use crate::limits;
use crate::record::hash::{Hasher, Subject};
pub use finished::Finished;
use messages::Traffic;
use std::collections::HashMap;
use untold::Untold;

/// What a connection has shown to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Evidence {
    /// Requests on it that were calls to a model, or that only an inference server answers.
    pub inference: u64,
    /// Other requests.
    pub other: u64,
    pub not_http: bool,
}

/// What has become of a call that is not over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// The head of its request was seen.
    Begun(u64),
    /// Everything was asked.
    Asked(u64),
}

impl Evidence {
    fn judge(&mut self, inference: bool) {
        if inference {
            self.inference += 1;
        } else {
            self.other += 1;
        }
    }
}

#[derive(Debug)]
struct Open {
    decoder: Box<dyn Decoder>,
    finished: Finished,
    /// Whether the request's end will show that it is a call.
    perhaps: bool,
    /// Whether the request has its end.
    asked: bool,
    /// How and when the response ended, where it did before its request.
    answered: Option<(BodyEnd, u64)>,
    traffic: Traffic,
    untold: Untold,
    /// The request body, and whether it is kept until the prompt is read.
    part: Vec<u8>,
    keeps_part: bool,
    /// What a peer said was wrong when it ended its WebSocket.
    close_error: Option<CallError>,
    /// Bytes that its decoder holds.
    held: usize,
    /// They were given up once.
    cut: bool,
}

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub struct Exchanges {
    /// Text is stored, so bodies without a prompt are kept too.
    keeps_text: bool,
    open: HashMap<u64, Open>,
    /// Bytes that their decoders hold.
    held: usize,
    /// Exchanges whose path is not known, and whether one of their messages is over: their bytes are said to be in no message.
    nameless: HashMap<u64, bool>,
    pub evidence: Evidence,
    /// Not taken yet.
    progress: Vec<Progress>,
    /// Bytes that belonged to no message.
    pub skipped_seen: u64,
    pub skipped_missed: u64,
    /// When the first of them came.
    skipped_ns: u64,
    /// The connection began with an answer.
    pub unasked: bool,
}

impl Exchanges {
    /// Of a new connection; `keeps_text` where text is stored.
    pub fn new(keeps_text: bool) -> Self {
        Self {
            keeps_text,
            ..Self::default()
        }
    }

    /// Takes one HTTP event at `time_ns`; gives the calls that it ended.
    pub fn event(&mut self, event: HttpEvent<'_>, time_ns: u64, hasher: &Hasher) -> Vec<Finished> {
        match event {
            HttpEvent::RequestHead { exchange, head } => self.begin(exchange, &head, time_ns, hasher),
            HttpEvent::RequestBody { exchange, data } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.keep(data);
                    open.decoder.request_body(data);
                }
                self.weigh(exchange);
            }
            HttpEvent::RequestEnd { exchange, end } => {
                let ended = self.asked(exchange, end, time_ns, hasher);
                self.weigh(exchange);
                return ended;
            }
            HttpEvent::ResponseHead { exchange, head } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.finished.answered(&head);
                    let partial = open.finished.head_partial;
                    open.untold.head(head, partial, open.decoder.as_mut());
                }
            }
            HttpEvent::ResponseBody { exchange, data } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.untold.body(data, open.decoder.as_mut());
                    open.decoder.response_body(data, time_ns);
                }
                self.weigh(exchange);
            }
            HttpEvent::ResponseEnd { exchange, end } => {
                self.count_nameless(exchange, end, time_ns);
                match self.open.get_mut(&exchange) {
                    // Whether its request is whole shows later.
                    Some(open) if !open.asked => open.answered = Some((end, time_ns)),
                    _ => return self.end(exchange, end, time_ns),
                }
            }
            HttpEvent::Message {
                exchange,
                response,
                binary,
                data,
                wire_bytes,
            } => {
                let open = self.open.get_mut(&exchange);
                let ended = open.map(|open| open.message(response, binary, data, wire_bytes, time_ns));
                self.weigh(exchange);
                return ended.unwrap_or_default();
            }
            HttpEvent::MessageLost {
                exchange,
                response,
                seen,
                missed,
                ..
            } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.message_lost(response, seen, missed);
                }
            }
            HttpEvent::CloseFrame {
                exchange,
                code,
                reason,
                ..
            } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.closed(code, reason);
                }
            }
            HttpEvent::HeadPartial { exchange } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.finished.head_partial = true;
                }
            }
            HttpEvent::Trailers { exchange, fields } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.decoder.trailers(&fields);
                }
            }
            HttpEvent::Upgraded { .. } => {}
            HttpEvent::Skipped { seen, missed, .. } => {
                self.note_skipped(time_ns);
                self.skipped_seen += seen;
                self.skipped_missed = self.skipped_missed.saturating_add(missed);
            }
            // Its bytes are declared; that it was a call says that this is a server of models.
            HttpEvent::HeadLost { head } => match infer::classify(&head) {
                Classified::Inference(_) | Classified::Metadata => self.evidence.judge(true),
                Classified::Perhaps(_) | Classified::Hint(_) | Classified::Other => {}
            },
            HttpEvent::Unasked => self.unasked = true,
            HttpEvent::NotHttp => self.evidence.not_http = true,
        }
        Vec::new()
    }

    /// The request of an exchange is over, and the exchange is where it was answered before.
    fn asked(&mut self, exchange: u64, end: BodyEnd, time_ns: u64, hasher: &Hasher) -> Vec<Finished> {
        self.count_nameless(exchange, end, time_ns);
        let Some(open) = self.open.get_mut(&exchange) else {
            return Vec::new();
        };
        open.asked = true;
        open.decoder.request_end(end.state == BodyState::Complete);
        open.settle_part();
        open.finished.request = end;
        let prompt = open.decoder.prompt();
        open.finished.prompt_hash = prompt.map(|prompt| hasher.hash(Subject::Prompt, prompt));
        let (perhaps, is_call) = (std::mem::take(&mut open.perhaps), open.decoder.has_call());
        if perhaps {
            self.evidence.judge(is_call);
        }
        if perhaps && is_call {
            self.progress.push(Progress::Begun(exchange));
        }
        if is_call || !perhaps {
            self.progress.push(Progress::Asked(exchange));
        }
        match open.answered {
            Some((answer, answered_ns)) => self.end(exchange, answer, answered_ns),
            None => {
                open.finished.asked_ns = time_ns;
                Vec::new()
            }
        }
    }

    fn end(&mut self, exchange: u64, answer: BodyEnd, time_ns: u64) -> Vec<Finished> {
        let open = self.open.remove(&exchange);
        let freed = open.as_ref().map_or(0, |open| open.held);
        self.held = self.held.saturating_sub(freed);
        open.and_then(|open| open.end(answer, time_ns))
            .into_iter()
            .collect()
    }

    fn begin(&mut self, exchange: u64, head: &RequestHead, time_ns: u64, hasher: &Hasher) {
        let (decoder, perhaps) = match infer::classify(head) {
            Classified::Inference(decoder) => {
                self.evidence.judge(true);
                (decoder, false)
            }
            Classified::Perhaps(decoder) => (decoder, true),
            Classified::Hint(decoder) => {
                self.evidence.judge(false);
                (decoder, false)
            }
            Classified::Metadata => return self.evidence.judge(true),
            Classified::Other if head.target.is_empty() => {
                self.nameless.insert(exchange, false);
                return;
            }
            Classified::Other => return self.evidence.judge(false),
        };
        let open = Open {
            decoder,
            finished: Finished::begin(exchange, head, time_ns, hasher),
            perhaps,
            asked: false,
            answered: None,
            traffic: Traffic::default(),
            untold: Untold::default(),
            part: Vec::new(),
            keeps_part: self.keeps_text && is_text(head),
            close_error: None,
            held: 0,
            cut: false,
        };
        if !perhaps {
            self.progress.push(Progress::Begun(exchange));
        }
        self.open.insert(exchange, open);
    }

    /// Bytes that belong to no exchange and are not declared yet.
    pub fn skipped(&self) -> u64 {
        self.skipped_seen.saturating_add(self.skipped_missed)
    }

    /// Whether such bytes have waited for their declaration since before `before_ns`.
    pub fn skipped_before(&self, before_ns: u64) -> bool {
        self.skipped() > 0 && self.skipped_ns <= before_ns
    }

    fn note_skipped(&mut self, time_ns: u64) {
        if self.skipped() == 0 {
            self.skipped_ns = time_ns;
        }
    }

    fn count_nameless(&mut self, exchange: u64, end: BodyEnd, time_ns: u64) {
        if let Some(half_over) = self.nameless.get_mut(&exchange) {
            if std::mem::replace(half_over, true) {
                self.nameless.remove(&exchange);
            }
            self.note_skipped(time_ns);
            self.skipped_seen = self.skipped_seen.saturating_add(end.wire_bytes);
            self.skipped_missed = self.skipped_missed.saturating_add(end.missed_bytes);
        }
    }

    /// Calls that have no end yet.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// A call that has no end yet: what is known of it, and its prompt.
    pub fn outline(&self, exchange: u64) -> Option<(&Finished, Option<&[u8]>)> {
        let open = self.open.get(&exchange)?;
        Some((&open.finished, open.decoder.prompt()))
    }

    /// Numbers of the exchanges that have no end yet.
    pub fn numbers(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// What happened to calls since this was asked last, in order.
    pub fn progress(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.progress)
    }
}

/// Whether the body may be text, by what its head says.
fn is_text(head: &RequestHead) -> bool {
    let kind = head.headers.first("content-type").map(str::to_ascii_lowercase);
    kind.is_none_or(|kind| kind.starts_with("text/") || kind.contains("json"))
}

impl Open {
    /// Keeps the first bytes of the request body.
    fn keep(&mut self, data: &[u8]) {
        if self.keeps_part {
            let room = limits::BODY_BYTES.saturating_sub(self.part.len());
            self.part.extend(data.iter().take(room));
        }
    }

    /// Lets go of the request body where its prompt was read.
    fn settle_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        if self.decoder.prompt().is_none() && !part.is_empty() {
            self.finished.request_part = Some(part);
        }
    }

    /// None when nothing is left to tell: every call of the exchange was over before.
    fn end(mut self, response: BodyEnd, time_ns: u64) -> Option<Finished> {
        self.untold.body(&[], self.decoder.as_mut());
        self.settle_part();
        if !self.decoder.has_call() {
            return None;
        }
        let (request, response) = self.traffic.rest(self.finished.request, response);
        let end = match response.state {
            BodyState::Complete => End::Complete,
            BodyState::Aborted => End::Aborted,
            BodyState::Gap | BodyState::Malformed(_) | BodyState::Undecodable(_) => End::Partial,
        };
        let mut call = self.decoder.finish(end);
        if self.cut {
            call.note(room::NOTE);
        }
        call.error = call.error.or(self.close_error);
        Some(Finished {
            call,
            request,
            response,
            end_ns: time_ns,
            ..self.finished
        })
    }
}

#[cfg(test)]
mod tests;
