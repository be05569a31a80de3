//! The engines of vLLM and SGLang over gRPC: `Generate` and `Embed`, as routers call them.
//!
//! In: protobuf messages of both sides. Out: their part of a [`Call`]. Prompts are texts, or token ids where no text is sent beside
//! them. Answers are token ids: they are counted, and there is no text to hash. Never: a guess of the text.
//!
//! Sources: vLLM `vllm/grpc/vllm_engine.proto`, SGLang `sgl-router/src/proto/sglang_scheduler.proto`, and both in the Shepherd model
//! gateway (`crates/grpc_client/proto`). vLLM's answers had an id before the rest for a while, and embeddings of both were
//! wrapped: each form is told by what a message has.

use super::answer::Answer;
use super::grpc::call::Service;
use super::{parts, protobuf};
use crate::call::{Attachment, Call, CallError, Results, TokensSource};
use crate::limits::{self, cut};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Whose messages they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    Vllm,
    Sglang,
}

/// Of every request.
const REQUEST_ID: u64 = 1;
const TOKENIZED: u64 = 2;
/// Of vLLM's, in place of tokens.
const TEXT: u64 = 3;
/// Of SGLang's.
const MM_INPUTS: u64 = 3;
const LORA_ID: u64 = 15;
/// Of both `Generate`.
const SAMPLING_PARAMS: u64 = 4;
/// Of `TokenizedInput`.
const ORIGINAL_TEXT: u64 = 1;
const INPUT_IDS: u64 = 2;
/// Of `OutputLogProbs`.
const TOKEN_LOGPROBS: u64 = 1;

/// `SamplingParams` that are numbers of variable length.
const VLLM_NUMBERS: &[(u64, &str)] = &[
    (3, "top_k"),
    (8, "max_tokens"),
    (9, "min_tokens"),
    (15, "n"),
    (24, "seed"),
];
/// Field 17 was a text once.
const SGLANG_NUMBERS: &[(u64, &str)] = &[(3, "top_k"), (8, "max_new_tokens"), (17, "n")];
/// Those that are `float`, in both.
const FLOATS: &[(u64, &str)] = &[
    (1, "temperature"),
    (2, "top_p"),
    (4, "min_p"),
    (5, "frequency_penalty"),
    (6, "presence_penalty"),
    (7, "repetition_penalty"),
];

/// Field numbers of one kind of answer.
struct Numbers {
    ids: u64,
    prompt: u64,
    completion: u64,
    cached: u64,
    logprobs: u64,
    index: u64,
    /// SGLang's.
    reasoning: u64,
}

impl Layout {
    fn chunk(self) -> Numbers {
        Numbers {
            ids: 1,
            prompt: 2,
            completion: 3,
            cached: 4,
            logprobs: 5,
            index: if self == Self::Vllm { 7 } else { 8 },
            reasoning: 9,
        }
    }

    fn complete(self) -> Numbers {
        Numbers {
            ids: 1,
            prompt: 3,
            completion: 4,
            cached: 5,
            logprobs: 6,
            index: if self == Self::Vllm { 8 } else { 11 },
            reasoning: 12,
        }
    }
}

/// Of `GenerateComplete`.
const FINISH_REASON: u64 = 2;

/// What one choice has so far.
#[derive(Debug, Default)]
struct Counts {
    completion: u64,
    reasoning: u64,
}

#[derive(Debug)]
pub struct Generate {
    layout: Layout,
    choices: BTreeMap<u64, Counts>,
}

impl Generate {
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            choices: BTreeMap::new(),
        }
    }

    fn params(&self, call: &mut Call, params: &[u8]) {
        let numbers = match self.layout {
            Layout::Vllm => VLLM_NUMBERS,
            Layout::Sglang => SGLANG_NUMBERS,
        };
        for (field, name) in numbers {
            // Negative ones are written as 64 bits: -1 is `all`.
            if let Some(number) = protobuf::number(params, *field) {
                call.params
                    .insert((*name).into(), Value::from(number.cast_signed()));
            }
        }
        for (field, name) in FLOATS {
            // As it is written, not as its bits are: 0.7 is no 0.699999988.
            let float =
                protobuf::float(params, *field).and_then(|float| float.to_string().parse::<f64>().ok());
            if let Some(float) = float {
                call.params.insert((*name).into(), Value::from(float));
            }
        }
    }

    /// Chunk, whole answer and error of an answer.
    fn kinds<'a>(&self, message: &'a [u8]) -> [Option<&'a [u8]>; 3] {
        let last = |number| protobuf::all(message, number).last();
        let [first, second, third, fourth] = [1, 2, 3, 4].map(last);
        let with_id = second.is_some() || third.is_some() || fourth.is_some();
        match self.layout {
            Layout::Sglang => [second, third, fourth],
            Layout::Vllm if first.is_some() && with_id => [second, third, fourth],
            Layout::Vllm => [first, second, None],
        }
    }

    fn count(&mut self, call: &mut Call, answer: &mut Answer, message: &[u8], numbers: &Numbers) -> u64 {
        let number =
            |field| protobuf::number(message, field).filter(|count| *count <= crate::record::INTEGER_MAX);
        let index = number(numbers.index).unwrap_or_default();
        call.input_tokens = number(numbers.prompt).or(call.input_tokens);
        call.cached_tokens = number(numbers.cached).or(call.cached_tokens);
        if self.choices.len() < limits::CHOICES || self.choices.contains_key(&index) {
            let counts = self.choices.entry(index).or_default();
            counts.completion = number(numbers.completion).unwrap_or(counts.completion);
            if self.layout == Layout::Sglang {
                counts.reasoning = number(numbers.reasoning).unwrap_or(counts.reasoning);
            }
        }
        for logprobs in protobuf::all(message, numbers.logprobs).take(1) {
            for logprob in protobuf::floats(logprobs, TOKEN_LOGPROBS) {
                answer.logprob(f64::from(logprob));
            }
        }
        index
    }
}

impl Service for Generate {
    fn asked(&mut self, call: &mut Call, message: &[u8]) -> Option<Value> {
        let sglang = self.layout == Layout::Sglang;
        call.provider = Some(if sglang { "sglang" } else { "vllm" });
        let stream = protobuf::number(message, if sglang { 17 } else { 5 });
        call.stream = Some(stream == Some(1));
        if let Some(params) = protobuf::all(message, SAMPLING_PARAMS).last() {
            self.params(call, params);
        }
        if sglang {
            call.adapter = protobuf::text(message, LORA_ID).map(|id| cut(&id));
            protobuf::all(message, MM_INPUTS).for_each(|inputs| media(call, inputs));
        }
        let text = || protobuf::text(message, TEXT).filter(|_| !sglang).map(Value::from);
        call.response_id = protobuf::text(message, REQUEST_ID).map(|id| cut(&id));
        tokenized(message).or_else(text)
    }

    fn answered(&mut self, call: &mut Call, answer: &mut Answer, message: &[u8]) -> bool {
        let [chunk, complete, error] = self.kinds(message);
        if let Some(error) = error {
            call.error.get_or_insert_with(|| self::error(error));
        }
        let mut spoke = false;
        if let Some(chunk) = chunk {
            let numbers = self.layout.chunk();
            self.count(call, answer, chunk, &numbers);
            spoke = protobuf::varints(chunk, numbers.ids).next().is_some();
        }
        if let Some(complete) = complete {
            if call.stream == Some(true) {
                // The pieces had them.
                self.count(call, &mut Answer::default(), complete, &self.layout.complete());
            } else {
                self.count(call, answer, complete, &self.layout.complete());
            }
            let index = protobuf::number(complete, self.layout.complete().index).unwrap_or_default();
            if let Some(reason) = protobuf::text(complete, FINISH_REASON) {
                answer.finish_reason(index, &reason);
            }
        }
        spoke
    }

    fn finish(&mut self, call: &mut Call) -> bool {
        call.note("answer_in_token_ids");
        let sum = |count: fn(&Counts) -> u64| self.choices.values().map(count).fold(0, u64::saturating_add);
        if !self.choices.is_empty() {
            call.output_tokens = Some(sum(|counts| counts.completion));
            call.reasoning_tokens = Some(sum(|counts| counts.reasoning)).filter(|tokens| *tokens > 0);
            call.tokens_source = TokensSource::ServerUsage;
        }
        false
    }
}

#[derive(Debug)]
pub struct Embed {
    pub layout: Layout,
}

impl Service for Embed {
    fn asked(&mut self, call: &mut Call, message: &[u8]) -> Option<Value> {
        let sglang = self.layout == Layout::Sglang;
        call.provider = Some(if sglang { "sglang" } else { "vllm" });
        call.inputs = Some(1);
        call.response_id = protobuf::text(message, REQUEST_ID).map(|id| cut(&id));
        tokenized(message)
    }

    fn answered(&mut self, call: &mut Call, _answer: &mut Answer, message: &[u8]) -> bool {
        let wrapped = protobuf::all(message, 2).last();
        let failed = protobuf::all(message, 3).last();
        if let Some(error) = failed {
            call.error.get_or_insert_with(|| self::error(error));
            return false;
        }
        let (of, embedding, prompt) = match (wrapped, self.layout) {
            (Some(wrapped), _) => (wrapped, 1, 2),
            (None, Layout::Vllm) => (message, 1, 2),
            (None, Layout::Sglang) => (message, 5, 6),
        };
        call.input_tokens = protobuf::number(of, prompt).filter(|count| *count <= crate::record::INTEGER_MAX);
        call.tokens_source = TokensSource::ServerUsage;
        call.results = Some(Results {
            count: 1,
            dimensions: Some(protobuf::floats(of, embedding).count() as u64),
        });
        true
    }

    fn finish(&mut self, _call: &mut Call) -> bool {
        false
    }
}

/// The text that was tokenised, or the tokens.
fn tokenized(message: &[u8]) -> Option<Value> {
    let input = protobuf::all(message, TOKENIZED).last()?;
    Some(match protobuf::text(input, ORIGINAL_TEXT) {
        Some(text) => Value::from(text),
        None => protobuf::varints(input, INPUT_IDS).map(Value::from).collect(),
    })
}

/// `{message, http_status_code or code}`.
fn error(error: &[u8]) -> CallError {
    let code = protobuf::text(error, 2).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
    CallError {
        kind: code.map_or_else(|| "error".into(), |code| cut(&format!("http_{code}"))),
        message: protobuf::text(error, 1).map(|message| cut(&message)),
    }
}

/// `MultimodalInputs`: URLs and bytes of images, videos and sounds.
fn media(call: &mut Call, inputs: &[u8]) {
    for (kind, urls, data) in [("image", 1, 5), ("video", 2, 6), ("audio", 3, 7)] {
        for (source, field) in [("url", urls), ("inline", data)] {
            for bytes in protobuf::all(inputs, field) {
                let attachment = Attachment {
                    kind,
                    direction: "request",
                    source,
                    mime: None,
                    bytes: (source == "inline").then_some(bytes.len() as u64),
                    sha256: Some(Sha256::digest(bytes).into()),
                };
                parts::add(call, attachment);
            }
        }
    }
}

#[cfg(test)]
mod tests;
