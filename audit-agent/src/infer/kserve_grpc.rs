//! KServe's open inference protocol, version 2, over gRPC: `ModelInfer` and `ModelStreamInfer`.
//!
//! In: protobuf messages of both sides, and trailers. Out: one [`Call`] for the exchange; prompts and texts are elements of BYTES
//! tensors, other tensors are only counted. Never: a tensor of numbers in memory beyond its message.
//!
//! Source: KServe `grpc_predict_v2.proto`, Triton `grpc_service.proto`.

use super::answer::Answer;
use super::kserve::elements;
use super::{Decoder, End, Message, Side, grpc, headers, protobuf, request};
use crate::call::{Call, CallError, Results};
use crate::http::{Headers, RequestHead, ResponseHead};
use crate::limits::{self, cut};
use serde_json::{Map, Value};

/// Field numbers of `ModelInferRequest` and `ModelInferResponse`.
const MODEL_NAME: u64 = 1;
const MODEL_VERSION: u64 = 2;
const ID: u64 = 3;
const TENSORS: u64 = 5;
const RAW_INPUTS: u64 = 7;
const RAW_OUTPUTS: u64 = 6;
/// Of a tensor.
const NAME: u64 = 1;
const DATATYPE: u64 = 2;
const CONTENTS: u64 = 5;
/// Of `InferTensorContents`.
const BYTES_CONTENTS: u64 = 8;
/// Of `ModelStreamInferResponse`.
const ERROR_MESSAGE: u64 = 1;
const INFER_RESPONSE: u64 = 2;

#[derive(Debug)]
pub struct KServeGrpc {
    call: Call,
    answer: Answer,
    /// `ModelStreamInfer`: answers have a wrapper.
    stream: bool,
    status: Option<u16>,
    trailers: bool,
    lost: bool,
    asked: u64,
    prompts: Vec<Value>,
    prompt_bytes: usize,
}

impl KServeGrpc {
    pub fn decoder(api: &'static str, operation: &'static str, head: &RequestHead) -> Box<dyn Decoder> {
        let stream = head.path().ends_with("StreamInfer");
        let mut call = Call {
            api,
            operation,
            stream: Some(stream),
            ..Call::default()
        };
        headers::request(&mut call, head);
        Box::new(Self {
            call,
            answer: Answer::default(),
            stream,
            status: None,
            trailers: false,
            lost: false,
            asked: 0,
            prompts: Vec::new(),
            prompt_bytes: 0,
        })
    }

    fn asked(&mut self, data: &[u8]) {
        self.asked += 1;
        let call = &mut self.call;
        call.model_requested = protobuf::text(data, MODEL_NAME)
            .map(|name| cut(&name))
            .or(call.model_requested.take());
        if let Some(version) = protobuf::text(data, MODEL_VERSION) {
            call.params
                .insert("model_version".into(), Value::from(cut(&version)));
        }
        let inputs = protobuf::all(data, TENSORS).count() as u64;
        call.inputs = Some(call.inputs.unwrap_or(0).saturating_add(inputs));
        let texts = texts(data, RAW_INPUTS);
        self.prompt_bytes = self.prompt_bytes.saturating_add(data.len());
        if !texts.is_empty() && self.prompt_bytes <= limits::BODY_BYTES {
            let members = texts.into_iter().map(|(name, texts)| (name, Value::from(texts)));
            self.prompts.push(Value::Object(members.collect::<Map<_, _>>()));
        }
        // One request stands for itself; of a stream of them, all do.
        let whole = !self.lost && self.prompt_bytes <= limits::BODY_BYTES;
        self.call.prompt_canonical = match self.prompts.as_slice() {
            [one] if whole && self.asked == 1 => request::canonical(one),
            [_, ..] if whole => request::canonical(&Value::Array(self.prompts.clone())),
            _ => None,
        };
        if self.prompt_bytes > limits::BODY_BYTES {
            self.call.note("request_over_cap");
        }
    }

    fn answered(&mut self, data: &[u8], time_ns: u64) {
        let message = match self.stream {
            true => {
                if let Some(message) = protobuf::text(data, ERROR_MESSAGE) {
                    self.call.error.get_or_insert(CallError {
                        kind: "error".into(),
                        message: Some(cut(&message)),
                    });
                }
                protobuf::all(data, INFER_RESPONSE).last().unwrap_or_default()
            }
            false => data,
        };
        let call = &mut self.call;
        call.model_served = protobuf::text(message, MODEL_NAME)
            .map(|name| cut(&name))
            .or(call.model_served.take());
        call.response_id = protobuf::text(message, ID)
            .map(|id| cut(&id))
            .or(call.response_id.take());
        if let Some(version) = protobuf::text(message, MODEL_VERSION) {
            call.effective_params
                .insert("model_version".into(), Value::from(cut(&version)));
        }
        let outputs = protobuf::all(message, TENSORS).count() as u64;
        let before = call.results.map_or(0, |results| results.count);
        call.results = Some(Results {
            count: before.saturating_add(outputs),
            dimensions: None,
        });
        let mut spoke = false;
        for text in texts(message, RAW_OUTPUTS).iter().flat_map(|(_, texts)| texts) {
            spoke |= match self.stream {
                true => self.answer.cumulative_text(0, text),
                false => self.answer.text(0, text),
            };
        }
        if spoke && self.stream {
            self.answer.spoke_at(time_ns);
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

/// The BYTES tensors of a message, each with its texts: as contents, or raw with the length before each.
fn texts(message: &[u8], raw: u64) -> Vec<(String, Vec<String>)> {
    let mut raw = protobuf::all(message, raw);
    let tensors = protobuf::all(message, TENSORS).filter_map(|tensor| {
        // Raw contents stand in the order of the tensors.
        let contents = raw.next();
        if protobuf::text(tensor, DATATYPE).as_deref() != Some("BYTES") {
            return None;
        }
        let texts = match contents {
            Some(contents) => elements(contents),
            None => {
                let contents = protobuf::all(tensor, CONTENTS)
                    .flat_map(|contents| protobuf::all(contents, BYTES_CONTENTS));
                contents
                    .map(|text| String::from_utf8_lossy(text).into_owned())
                    .collect()
            }
        };
        Some((protobuf::text(tensor, NAME).unwrap_or_default(), texts))
    });
    tensors.collect()
}

impl Decoder for KServeGrpc {
    fn request_body(&mut self, _data: &[u8]) {}

    fn request_end(&mut self, _complete: bool) {}

    fn response(&mut self, head: &ResponseHead) {
        self.status = Some(head.status);
        headers::response(&mut self.call, head);
    }

    fn response_body(&mut self, _data: &[u8], _time_ns: u64) {}

    fn message(&mut self, message: Message<'_>) {
        match message.from {
            Side::Client => self.asked(message.data),
            Side::Server => self.answered(message.data, message.time_ns),
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
        self.call.error = self.call.error.take().or_else(|| grpc::error(trailers));
    }

    fn prompt(&self) -> Option<&[u8]> {
        self.call.prompt_canonical.as_deref()
    }

    fn finish(mut self: Box<Self>, end: End) -> Call {
        let error = self.error(end);
        self.call.error = self.call.error.take().or(error);
        let whole = end == End::Complete && self.call.error.is_none() && !self.lost;
        let Self { mut call, answer, .. } = *self;
        answer.finish(&mut call, whole);
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpVersion;

    fn decoder(method: &str) -> Box<dyn Decoder> {
        let head = RequestHead {
            method: "POST".into(),
            target: format!("/inference.GRPCInferenceService/{method}"),
            version: HttpVersion::Http2,
            headers: Headers::default(),
        };
        KServeGrpc::decoder("kserve_grpc", "text_completion", &head)
    }

    /// A field of bytes.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        out.extend_from_slice(bytes);
        out
    }

    fn tensor(name: &str, datatype: &str, contents: &[u8]) -> Vec<u8> {
        field(
            5,
            &[
                field(1, name.as_bytes()),
                field(2, datatype.as_bytes()),
                contents.to_vec(),
            ]
            .concat(),
        )
    }

    fn message(from: Side, data: &[u8], time_ns: u64) -> Message<'_> {
        Message {
            from,
            binary: true,
            data,
            time_ns,
        }
    }

    fn ok(decoder: &mut Box<dyn Decoder>) {
        decoder.trailers(&Headers(vec![("grpc-status".into(), "0".into())]));
    }

    #[test]
    fn raw_tensors_of_texts_are_read_and_others_counted() {
        let mut decoder = decoder("ModelInfer");
        let asked = [
            field(1, b"llm"),
            field(2, b"3"),
            tensor("n", "INT32", b""),
            tensor("prompt", "BYTES", b""),
            field(7, &[1, 0, 0, 0]),
            field(7, b"\x02\0\0\0hi"),
        ]
        .concat();
        decoder.message(message(Side::Client, &asked, 1));
        assert_eq!(decoder.prompt(), Some(&br#"{"prompt":["hi"]}"#[..]));
        let contents = field(5, &field(8, b"hello"));
        let answered = [
            field(1, b"llm"),
            field(3, b"id1"),
            tensor("out", "BYTES", &contents),
        ]
        .concat();
        decoder.message(message(Side::Server, &answered, 5));
        ok(&mut decoder);
        let call = decoder.finish(End::Complete);
        assert_eq!(call.completion_canonical.as_deref(), Some(&b"hello"[..]));
        assert_eq!(
            (call.model_requested.as_deref(), call.response_id.as_deref()),
            (Some("llm"), Some("id1"))
        );
        assert_eq!(
            (call.inputs, call.results.map(|r| r.count), call.error),
            (Some(2), Some(1), None)
        );
    }

    #[test]
    fn a_stream_gives_its_pieces_their_times_and_its_error() {
        let mut decoder = decoder("ModelStreamInfer");
        for (time_ns, text) in [(5, "he"), (9, "llo")] {
            let piece = tensor("out", "BYTES", &field(5, &field(8, text.as_bytes())));
            decoder.message(message(Side::Server, &field(2, &piece), time_ns));
        }
        decoder.message(message(Side::Server, &field(1, b"out of memory"), 12));
        ok(&mut decoder);
        let call = decoder.finish(End::Complete);
        assert_eq!(
            (call.first_token_ns, call.chunks, call.choices[0].text.as_str()),
            (Some(5), 2, "hello")
        );
        assert_eq!(call.error.unwrap().message.as_deref(), Some("out of memory"));
        assert_eq!(call.completion_canonical, None);
    }

    #[test]
    fn a_lost_message_leaves_no_hashes() {
        let mut decoder = decoder("ModelInfer");
        decoder.message_lost(Side::Client);
        let asked = [tensor("prompt", "BYTES", &field(5, &field(8, b"hi")))].concat();
        decoder.message(message(Side::Client, &asked, 1));
        let answered = tensor("out", "BYTES", &field(5, &field(8, b"x")));
        decoder.message(message(Side::Server, &answered, 2));
        ok(&mut decoder);
        let call = decoder.finish(End::Complete);
        assert_eq!((call.prompt_canonical, call.completion_canonical), (None, None));
    }

    #[test]
    fn bytes_that_are_no_message_do_no_harm() {
        let mut decoder = decoder("ModelStreamInfer");
        decoder.message(message(Side::Client, b"\xff\xff\xff", 1));
        decoder.message(message(Side::Server, b"\x12\xff\x01x", 2));
        assert_eq!(decoder.finish(End::Aborted).error.unwrap().kind, "client_abort");
    }
}
