//! A call that is over, and what of it is known from its heads.
//!
//! In: heads of request and response. Out: what every record has, whatever the API. Never: a secret: keys are hashed here.

use super::identity::{api_key, user_header};
use crate::call::Call;
use crate::http::{BodyEnd, BodyState, HttpVersion, RequestHead, ResponseHead};
use crate::limits::cut;
use crate::record::hash::{Hasher, Subject};

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
    /// What was seen of a textual request body in which no prompt was read, [`crate::limits::BODY_BYTES`] at most; None unless
    /// text is stored.
    pub request_part: Option<Vec<u8>>,
    pub response: BodyEnd,
    pub start_ns: u64,
    /// The last byte of the request.
    pub asked_ns: u64,
    pub end_ns: u64,
}

impl Finished {
    pub fn begin(exchange: u64, head: &RequestHead, time_ns: u64, hasher: &Hasher) -> Self {
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
            request_part: None,
            response: unseen(),
            start_ns: time_ns,
            asked_ns: time_ns,
            end_ns: time_ns,
        }
    }

    pub fn answered(&mut self, head: &ResponseHead) {
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

/// A message of which nothing has come yet.
pub fn unseen() -> BodyEnd {
    BodyEnd {
        state: BodyState::Gap,
        wire_bytes: 0,
        body_bytes: 0,
        missed_bytes: 0,
        body_sha256: [0; 32],
    }
}
