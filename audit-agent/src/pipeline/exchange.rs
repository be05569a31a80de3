//! One exchange under way, and what is left of it when it is over.
//!
//! In: HTTP events of one connection with their times. Out: [`Finished`] exchanges that were calls to a model.
//! Never: a secret: API keys are hashed as their head is read.

mod identity;
mod messages;
mod untold;

use crate::call::{Call, CallError};
use crate::http::{BodyEnd, BodyState, HttpEvent, HttpVersion, RequestHead, ResponseHead};
use crate::infer::{self, Classified, Decoder, End};
use crate::limits::cut;
use crate::record::hash::{Hasher, Subject};
use identity::{api_key, user_header};
use messages::Traffic;
use std::collections::{HashMap, HashSet};
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

/// A call to a model that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    pub call: Call,
    /// Number of its exchange on the connection, and of the call in that exchange.
    pub number: (u64, u64),
    /// Known before the end, when the decoder could tell the prompt then.
    pub prompt_hash: Option<String>,
    pub method: String,
    pub path: String,
    pub api_key_hash: Option<String>,
    pub user: Option<(&'static str, String)>,
    pub user_agent: Option<String>,
    pub request_id: Option<String>,
    pub traceparent: Option<String>,
    pub protocol: HttpVersion,
    /// Not every field of its heads is known.
    pub head_partial: bool,
    pub status: Option<u16>,
    pub request: BodyEnd,
    pub response: BodyEnd,
    pub start_ns: u64,
    /// The last byte of the request.
    pub asked_ns: u64,
    pub end_ns: u64,
}

#[derive(Debug)]
struct Open {
    decoder: Box<dyn Decoder>,
    finished: Finished,
    /// Whether the request's end will show that it is a call.
    perhaps: bool,
    traffic: Traffic,
    untold: Untold,
    /// What a peer said was wrong when it ended its WebSocket.
    close_error: Option<CallError>,
}

/// The exchanges of one connection.
#[derive(Debug, Default)]
pub struct Exchanges {
    open: HashMap<u64, Open>,
    /// Exchanges whose path is not known: their bytes are said to be in no message.
    nameless: HashSet<u64>,
    pub evidence: Evidence,
    /// Not taken yet.
    progress: Vec<Progress>,
    /// Bytes that belonged to no message.
    pub skipped_seen: u64,
    pub skipped_missed: u64,
    /// When the first of them came.
    skipped_ns: u64,
}

impl Exchanges {
    /// Takes one HTTP event at `time_ns`; gives the calls that it ended.
    pub fn event(&mut self, event: HttpEvent<'_>, time_ns: u64, hasher: &Hasher) -> Vec<Finished> {
        match event {
            HttpEvent::RequestHead { exchange, head } => self.begin(exchange, &head, time_ns, hasher),
            HttpEvent::RequestBody { exchange, data } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.decoder.request_body(data);
                }
            }
            HttpEvent::RequestEnd { exchange, end } => {
                self.count_nameless(exchange, end, time_ns);
                if let Some(open) = self.open.get_mut(&exchange) {
                    open.decoder.request_end(end.state == BodyState::Complete);
                    open.finished.request = end;
                    open.finished.asked_ns = time_ns;
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
                }
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
            }
            HttpEvent::ResponseEnd { exchange, end } => {
                self.count_nameless(exchange, end, time_ns);
                self.nameless.remove(&exchange);
                let open = self.open.remove(&exchange);
                return open.and_then(|open| open.end(end, time_ns)).into_iter().collect();
            }
            HttpEvent::Message {
                exchange,
                response,
                binary,
                data,
                wire_bytes,
            } => {
                if let Some(open) = self.open.get_mut(&exchange) {
                    return open.message(response, binary, data, wire_bytes, time_ns);
                }
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
            HttpEvent::HeadLost { head } => {
                if matches!(infer::classify(&head), Classified::Inference(_)) {
                    self.evidence.judge(true);
                }
            }
            HttpEvent::NotHttp | HttpEvent::Unasked => self.evidence.not_http = true,
        }
        Vec::new()
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
                self.nameless.insert(exchange);
                return;
            }
            Classified::Other => return self.evidence.judge(false),
        };
        let open = Open {
            decoder,
            finished: Finished::begin(exchange, head, time_ns, hasher),
            perhaps,
            traffic: Traffic::default(),
            untold: Untold::default(),
            close_error: None,
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
        if self.nameless.contains(&exchange) {
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

impl Open {
    /// None when nothing is left to tell: every call of the exchange was over before.
    fn end(mut self, response: BodyEnd, time_ns: u64) -> Option<Finished> {
        self.untold.body(&[], self.decoder.as_mut());
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

impl Finished {
    fn begin(exchange: u64, head: &RequestHead, time_ns: u64, hasher: &Hasher) -> Self {
        let header = |name: &str| head.headers.first(name).map(cut);
        Self {
            call: Call::default(),
            number: (exchange, 0),
            prompt_hash: None,
            method: cut(&head.method),
            path: cut(head.path()),
            api_key_hash: api_key(head).map(|key| hasher.hash(Subject::ApiKey, key.as_bytes())),
            user: user_header(head),
            user_agent: header("user-agent"),
            request_id: header("x-request-id").or_else(|| header("x-correlation-id")),
            traceparent: header("traceparent"),
            protocol: head.version,
            head_partial: false,
            status: None,
            request: unseen(),
            response: unseen(),
            start_ns: time_ns,
            asked_ns: time_ns,
            end_ns: time_ns,
        }
    }

    fn answered(&mut self, head: &ResponseHead) {
        self.status = Some(head.status).filter(|status| *status != 0);
        let id = || {
            head.headers
                .first("x-request-id")
                .or_else(|| head.headers.first("request-id"))
                .or_else(|| head.headers.first("x-correlation-id"))
                .map(cut)
        };
        self.request_id = self.request_id.take().or_else(id);
    }
}

fn unseen() -> BodyEnd {
    BodyEnd {
        state: BodyState::Gap,
        wire_bytes: 0,
        body_bytes: 0,
        missed_bytes: 0,
        body_sha256: [0; 32],
    }
}

#[cfg(test)]
mod tests;
