//! One gRPC call: what all services have in common.
//!
//! In: protobuf messages of both sides, and trailers. Out: one [`Call`] for the exchange. Never: what a message means, which its
//! [`Service`] says.

use super::super::answer::Answer;
use super::super::protobuf::Fields;
use super::super::{Decoder, End, Message, Side, headers, request};
use crate::call::{Call, CallError};
use crate::http::{Headers, RequestHead, ResponseHead};
use crate::limits;
use serde_json::Value;

/// What the messages of one service say.
pub trait Service: Send + std::fmt::Debug + 'static {
    /// A message of the client; gives its prompt, if it has one.
    fn asked(&mut self, call: &mut Call, message: &[u8]) -> Option<Value>;

    /// A message of the server; true when the model said something in it.
    fn answered(&mut self, call: &mut Call, answer: &mut Answer, message: &[u8]) -> bool;

    /// Everything was seen; false when the answer is no text, so that there is none to hash.
    fn finish(&mut self, _call: &mut Call) -> bool {
        true
    }
}

#[derive(Debug)]
struct Reader<S> {
    service: S,
    call: Call,
    answer: Answer,
    status: Option<u16>,
    trailers: bool,
    lost: bool,
    /// The client is done, or is cut off.
    ended: bool,
    asked: u64,
    prompts: Vec<Value>,
    prompt_bytes: usize,
}

/// A decoder for one call of `service`; `stream` is what the method's name tells.
pub fn decoder(
    service: impl Service,
    (api, operation): (&'static str, &'static str),
    stream: Option<bool>,
    head: &RequestHead,
) -> Box<dyn Decoder> {
    let mut call = Call {
        api,
        operation,
        stream,
        ..Call::default()
    };
    headers::request(&mut call, head);
    Box::new(Reader {
        service,
        call,
        answer: Answer::default(),
        status: None,
        trailers: false,
        lost: false,
        ended: false,
        asked: 0,
        prompts: Vec::new(),
        prompt_bytes: 0,
    })
}

impl<S: Service> Reader<S> {
    fn asked(&mut self, data: &[u8]) {
        self.asked += 1;
        let prompt = self.service.asked(&mut self.call, data);
        self.prompt_bytes = self.prompt_bytes.saturating_add(data.len());
        let fits = self.prompt_bytes <= limits::BODY_BYTES;
        self.prompts.extend(prompt.filter(|_| fits));
        // One request stands for itself; of a stream of them, all do.
        let whole = !self.lost && fits;
        self.call.prompt_canonical = match self.prompts.as_slice() {
            [one] if whole && self.asked == 1 => request::canonical(one),
            [_, ..] if whole => request::canonical(&Value::Array(self.prompts.clone())),
            _ => None,
        };
        if !fits {
            self.call.note("request_over_cap");
        }
    }

    fn error(&self, end: End) -> Option<CallError> {
        let kind = match (self.status, end) {
            (Some(status @ 400..), _) => format!("http_{status}"),
            (_, End::Aborted) => "client_abort".to_owned(),
            (_, End::Complete) if !self.trailers => "grpc_no_status".to_owned(),
            _ => return None,
        };
        Some(CallError { kind, message: None })
    }
}

impl<S: Service> Decoder for Reader<S> {
    fn request_body(&mut self, _data: &[u8]) {}

    fn request_end(&mut self, complete: bool) {
        self.ended = true;
        if !complete {
            self.call.note("request_not_whole");
            self.call.prompt_canonical = None;
        }
    }

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        headers::response(&mut self.call, head);
    }

    fn response_body(&mut self, _data: &[u8], _time_ns: u64) {}

    fn message(&mut self, message: Message<'_>) {
        let mut fields = Fields::new(message.data);
        fields.by_ref().for_each(drop);
        if fields.broken {
            self.call.note("message_not_protobuf");
        }
        match message.from {
            Side::Client => self.asked(message.data),
            Side::Server => {
                let spoke = self
                    .service
                    .answered(&mut self.call, &mut self.answer, message.data);
                if spoke && self.call.stream == Some(true) {
                    self.answer.spoke_at(message.time_ns);
                }
            }
        }
    }

    fn message_lost(&mut self, from: Side) {
        self.lost = true;
        self.call.note("messages_lost");
        if from == Side::Client {
            self.call.prompt_canonical = None;
        }
    }

    fn trailers(&mut self, trailers: &Headers) {
        self.trailers |= trailers.first("grpc-status").is_some();
        self.call.error = self.call.error.take().or_else(|| super::error(trailers));
    }

    fn prompt(&self) -> Option<&[u8]> {
        self.call.prompt_canonical.as_deref()
    }

    fn held(&self) -> usize {
        let prompts = if self.prompts.is_empty() {
            0
        } else {
            self.prompt_bytes
        };
        prompts + self.call.held() + self.answer.held()
    }

    fn release(&mut self) {
        // Of the prompts that still come none could be hashed.
        self.prompt_bytes = limits::BODY_BYTES.saturating_add(1);
        self.prompts = Vec::new();
        self.call.release();
        self.answer.release();
    }

    fn finish(mut self: Box<Self>, end: End) -> Call {
        let error = self.error(end);
        if !self.ended {
            self.call.prompt_canonical = None;
        }
        self.call.error = self.call.error.take().or(error);
        let is_text = self.service.finish(&mut self.call);
        let whole = is_text && end == End::Complete && self.call.error.is_none() && !self.lost;
        let Self { mut call, answer, .. } = *self;
        answer.finish(&mut call, whole);
        call
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::http::HttpVersion;
    use crate::infer::{Classified, classify};

    /// The decoder of `/service/method`.
    pub fn begin(path: &str) -> Box<dyn Decoder> {
        let head = RequestHead {
            method: "POST".into(),
            target: path.into(),
            version: HttpVersion::Http2,
            headers: Headers(vec![("content-type".into(), "application/grpc".into())]),
        };
        match classify(&head) {
            Classified::Inference(decoder) => decoder,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// A field of bytes.
    pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    /// A field of a small number.
    pub fn number(field: u8, value: u8) -> Vec<u8> {
        vec![field << 3, value]
    }

    pub fn say(decoder: &mut Box<dyn Decoder>, from: Side, data: &[u8], time_ns: u64) {
        decoder.message(Message {
            from,
            binary: true,
            data,
            time_ns,
        });
    }

    /// The ends of the request and of the answer.
    pub fn trailers(decoder: &mut Box<dyn Decoder>, status: &str) {
        decoder.request_end(true);
        decoder.trailers(&Headers(vec![("grpc-status".into(), status.into())]));
    }

    #[test]
    fn a_call_that_failed_has_the_servers_reason() {
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let mut decoder = begin(path);
        trailers(&mut decoder, "5");
        assert_eq!(
            decoder.finish(End::Complete).error.unwrap().kind,
            "grpc_not_found"
        );
        let without = begin(path).finish(End::Complete);
        assert_eq!(without.error.unwrap().kind, "grpc_no_status");
    }

    #[test]
    fn bytes_that_are_no_message_are_said_and_do_no_harm() {
        for (service, _, methods) in super::super::SERVICES {
            for (method, _) in *methods {
                let mut decoder = begin(&format!("/{service}/{method}"));
                say(&mut decoder, Side::Client, b"\xff\xff\xff", 1);
                say(&mut decoder, Side::Server, b"\x12\xff\x01x", 2);
                let call = decoder.finish(End::Aborted);
                assert_eq!(call.error.unwrap().kind, "client_abort");
                let said = call.notes.contains(&"message_not_protobuf");
                assert!(said, "{service}/{method}");
            }
        }
    }
}
