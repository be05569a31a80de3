//! text-embeddings-inference over gRPC: `tei.v1.Embed`, `Predict` and `Rerank`.
//!
//! In: protobuf messages of both sides. Out: their part of a [`Call`]; the prompt has the members of the HTTP API. Never: a vector.
//!
//! Source: text-embeddings-inference `proto/tei.proto`.

use super::answer::{self, Answer};
use super::grpc::call::Service;
use super::protobuf;
use crate::call::{Call, Results, TokensSource};
use serde_json::{Value, json};

/// Of every request but those of a reranker: `inputs`.
const INPUTS: u64 = 1;
/// Of a reranker's: `query`, and `texts` or `text`.
const QUERY: u64 = 1;
const TEXTS: u64 = 2;
/// Of every answer: its vectors, scores or ranks, and `metadata`.
const RESULTS: u64 = 1;
const METADATA: u64 = 2;
/// Of a `TokenEmbedding`.
const EMBEDDINGS: u64 = 1;
/// Of `Metadata`, in nanoseconds but for the first.
const COMPUTE_TOKENS: u64 = 2;
const TOTAL_TIME: u64 = 3;
const QUEUE_TIME: u64 = 5;
const INFERENCE_TIME: u64 = 6;

/// What a method answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// One vector as a list of numbers.
    Vector,
    /// One vector as pairs of index and value.
    Sparse,
    /// A vector for each token.
    Tokens,
    Scores,
    Ranks,
}

#[derive(Debug)]
pub struct Tei {
    kind: Kind,
    /// Parameters of the request: field numbers and names.
    params: &'static [(u64, &'static str)],
    answers: u64,
}

impl Tei {
    /// For a method of one of the services.
    pub fn new(method: &str) -> Self {
        let (kind, params): (_, &[_]) = match method.trim_end_matches("Stream") {
            "EmbedSparse" => (Kind::Sparse, &[(2, "truncate")]),
            "EmbedAll" => (Kind::Tokens, &[(2, "truncate")]),
            "Predict" | "PredictPair" => (Kind::Scores, &[(2, "truncate"), (3, "raw_scores")]),
            "Rerank" => (
                Kind::Ranks,
                &[(3, "truncate"), (4, "raw_scores"), (5, "return_text")],
            ),
            _ => (Kind::Vector, &[(2, "truncate"), (3, "normalize")]),
        };
        Self {
            kind,
            params,
            answers: 0,
        }
    }

    fn results(&self, message: &[u8]) -> Results {
        let all = || protobuf::all(message, RESULTS);
        let one = |dimensions| Results { count: 1, dimensions };
        let many = |dimensions| Results {
            count: all().count() as u64,
            dimensions,
        };
        let width = |message, field| Some(protobuf::floats(message, field).count() as u64);
        match self.kind {
            Kind::Vector => one(width(message, RESULTS)),
            Kind::Sparse => one(None),
            Kind::Tokens => many(all().last().and_then(|vector| width(vector, EMBEDDINGS))),
            Kind::Scores | Kind::Ranks => many(None),
        }
    }
}

impl Service for Tei {
    fn asked(&mut self, call: &mut Call, message: &[u8]) -> Option<Value> {
        call.provider = Some("tei");
        for (field, name) in self.params {
            if protobuf::number(message, *field) == Some(1) {
                call.params.insert((*name).into(), Value::from(true));
            }
        }
        let texts = |field| {
            let texts = protobuf::all(message, field).map(|text| String::from_utf8_lossy(text).into_owned());
            texts.collect::<Vec<_>>()
        };
        let mut inputs = texts(if self.kind == Kind::Ranks { TEXTS } else { INPUTS });
        // A pair is one input.
        let more = if self.kind == Kind::Ranks {
            inputs.len() as u64
        } else {
            1
        };
        call.inputs = Some(call.inputs.unwrap_or(0).saturating_add(more));
        Some(match self.kind {
            Kind::Ranks => {
                let query = protobuf::text(message, QUERY).unwrap_or_default();
                json!({"query": query, "texts": inputs})
            }
            _ if inputs.len() == 1 => Value::from(inputs.pop()),
            _ => Value::from(inputs),
        })
    }

    fn answered(&mut self, call: &mut Call, _answer: &mut Answer, message: &[u8]) -> bool {
        self.answers += 1;
        let (before, now) = (
            call.results.map_or(0, |results| results.count),
            self.results(message),
        );
        call.results = Some(Results {
            count: before.saturating_add(now.count),
            ..now
        });
        let Some(metadata) = protobuf::all(message, METADATA).last() else {
            return true;
        };
        let tokens = protobuf::number(metadata, COMPUTE_TOKENS).unwrap_or_default();
        call.input_tokens = Some(call.input_tokens.unwrap_or(0).saturating_add(tokens))
            .filter(|tokens| *tokens <= crate::record::INTEGER_MAX);
        call.tokens_source = TokensSource::ServerUsage;
        for (field, name) in [
            (QUEUE_TIME, "queue"),
            (INFERENCE_TIME, "generation"),
            (TOTAL_TIME, "total"),
        ] {
            // Of a stream each answer has its own.
            match self.answers {
                1 => answer::timed(call, name, protobuf::number(metadata, field).map(|ns| ns / 1000)),
                _ => drop(call.server_timing_us.remove(name)),
            }
        }
        true
    }

    fn finish(&mut self, _call: &mut Call) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::grpc::call::tests::{begin, field, number, say, trailers};
    use super::super::{End, Side};
    use super::*;

    fn call(path: &str, asked: &[u8], answered: &[u8]) -> Call {
        let mut decoder = begin(path);
        say(&mut decoder, Side::Client, asked, 1);
        say(&mut decoder, Side::Server, answered, 2);
        trailers(&mut decoder, "0");
        decoder.finish(End::Complete)
    }

    fn prompt(call: &Call) -> String {
        String::from_utf8(call.prompt_canonical.clone().unwrap()).unwrap()
    }

    #[test]
    fn a_vector_is_counted_and_its_input_hashed_as_over_http() {
        let asked = [field(1, b"hello"), number(2, 1), number(3, 1)].concat();
        // 2000000 ns in all.
        let metadata = [number(2, 3), b"\x18\x80\x89\x7a".to_vec()].concat();
        let answered = [field(1, &[0; 16]), field(2, &metadata)].concat();
        let call = call("/tei.v1.Embed/Embed", &asked, &answered);
        assert_eq!(prompt(&call), r#""hello""#);
        let results = call.results.unwrap();
        assert_eq!((results.count, results.dimensions), (1, Some(4)));
        assert_eq!(
            (call.input_tokens, call.server_timing_us["total"]),
            (Some(3), 2000)
        );
        assert_eq!(
            (call.params.len(), call.error, call.completion_canonical),
            (2, None, None)
        );
    }

    #[test]
    fn ranks_have_a_query_and_texts() {
        let asked = [field(1, b"q"), field(2, b"a"), field(2, b"b")].concat();
        let rank = |index| field(1, &number(1, index));
        let call = call("/tei.v1.Rerank/Rerank", &asked, &[rank(1), rank(0)].concat());
        assert_eq!(prompt(&call), r#"{"query":"q","texts":["a","b"]}"#);
        assert_eq!((call.inputs, call.results.unwrap().count), (Some(2), 2));
    }

    #[test]
    fn a_stream_of_inputs_adds_up() {
        let mut decoder = begin("/tei.v1.Embed/EmbedAllStream");
        for text in ["a", "b"] {
            say(&mut decoder, Side::Client, &field(1, text.as_bytes()), 1);
            let token = field(1, &field(1, &[0; 8]));
            let answered = [token.clone(), token, field(2, &number(2, 2))].concat();
            say(&mut decoder, Side::Server, &answered, 2);
        }
        trailers(&mut decoder, "0");
        let call = decoder.finish(End::Complete);
        assert_eq!(prompt(&call), r#"["a","b"]"#);
        let results = call.results.unwrap();
        assert_eq!((results.count, results.dimensions), (4, Some(2)));
        assert_eq!((call.inputs, call.input_tokens), (Some(2), Some(4)));
        assert!(call.server_timing_us.is_empty());
    }
}
