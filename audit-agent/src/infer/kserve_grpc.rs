//! KServe's open inference protocol, version 2, over gRPC: `ModelInfer` and `ModelStreamInfer`.
//!
//! In: protobuf messages of both sides. Out: their part of a [`Call`]; prompts and texts are elements of BYTES tensors, other
//! tensors are only counted. Never: a tensor of numbers in memory beyond its message.
//!
//! Source: KServe `grpc_predict_v2.proto`, Triton `grpc_service.proto`.

use super::answer::Answer;
use super::grpc::call::Service;
use super::kserve::elements;
use super::protobuf;
use crate::call::{Call, CallError, Results};
use crate::limits::cut;
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
    /// `ModelStreamInfer`: answers have a wrapper.
    pub stream: bool,
}

impl Service for KServeGrpc {
    fn asked(&mut self, call: &mut Call, message: &[u8]) -> Option<Value> {
        call.model_requested = protobuf::text(message, MODEL_NAME)
            .map(|name| cut(&name))
            .or(call.model_requested.take());
        if let Some(version) = protobuf::text(message, MODEL_VERSION) {
            call.params
                .insert("model_version".into(), Value::from(cut(&version)));
        }
        let inputs = protobuf::all(message, TENSORS).count() as u64;
        call.inputs = Some(call.inputs.unwrap_or(0).saturating_add(inputs));
        let texts = texts(message, RAW_INPUTS);
        let members = texts.into_iter().map(|(name, texts)| (name, Value::from(texts)));
        let prompt: Map<_, _> = members.collect();
        (!prompt.is_empty()).then_some(Value::Object(prompt))
    }

    fn answered(&mut self, call: &mut Call, answer: &mut Answer, data: &[u8]) -> bool {
        let message = match self.stream {
            true => {
                if let Some(message) = protobuf::text(data, ERROR_MESSAGE) {
                    call.error.get_or_insert(CallError {
                        kind: "error".into(),
                        message: Some(cut(&message)),
                    });
                }
                protobuf::all(data, INFER_RESPONSE).last().unwrap_or_default()
            }
            false => data,
        };
        identity(call, message);
        let outputs = protobuf::all(message, TENSORS).count() as u64;
        let before = call.results.map_or(0, |results| results.count);
        call.results = Some(Results {
            count: before.saturating_add(outputs),
            dimensions: None,
        });
        let mut spoke = false;
        for text in texts(message, RAW_OUTPUTS).iter().flat_map(|(_, texts)| texts) {
            spoke |= match self.stream {
                true => answer.cumulative_text(0, text),
                false => answer.text(0, text),
            };
        }
        spoke
    }
}

fn identity(call: &mut Call, message: &[u8]) {
    let word = |number: u64| protobuf::text(message, number).map(|text| cut(&text));
    call.model_served = word(MODEL_NAME).or(call.model_served.take());
    call.response_id = word(ID).or(call.response_id.take());
    if let Some(version) = word(MODEL_VERSION) {
        call.effective_params
            .insert("model_version".into(), Value::from(version));
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

#[cfg(test)]
mod tests {
    use super::super::grpc::call::tests::{begin, field, say, trailers};
    use super::super::{Decoder, End, Side};

    fn decoder(method: &str) -> Box<dyn Decoder> {
        begin(&format!("/inference.GRPCInferenceService/{method}"))
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
        say(&mut decoder, Side::Client, &asked, 1);
        assert_eq!(decoder.prompt(), Some(&br#"{"prompt":["hi"]}"#[..]));
        let contents = field(5, &field(8, b"hello"));
        let answered = [
            field(1, b"llm"),
            field(3, b"id1"),
            tensor("out", "BYTES", &contents),
        ]
        .concat();
        say(&mut decoder, Side::Server, &answered, 5);
        trailers(&mut decoder, "0");
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
            say(&mut decoder, Side::Server, &field(2, &piece), time_ns);
        }
        say(&mut decoder, Side::Server, &field(1, b"out of memory"), 12);
        trailers(&mut decoder, "0");
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
        say(&mut decoder, Side::Client, &asked, 1);
        let answered = tensor("out", "BYTES", &field(5, &field(8, b"x")));
        say(&mut decoder, Side::Server, &answered, 2);
        trailers(&mut decoder, "0");
        let call = decoder.finish(End::Complete);
        assert_eq!((call.prompt_canonical, call.completion_canonical), (None, None));
    }
}
