//! gRPC services of inference servers: which method is a call to a model, and how a call failed.
//!
//! In: paths and trailers. Out: what they are. Never: messages, whose schema is the business of a family.
//!
//! Sources: the protocol definitions of KServe's Open Inference Protocol, text-embeddings-inference, vLLM and SGLang.

pub mod call;

use super::Decoder;
use super::engine_grpc::{Embed, Generate, Layout};
use super::kserve_grpc::KServeGrpc;
use super::tei_grpc::Tei;
use crate::call::CallError;
use crate::http::target::percent_decoded;
use crate::http::{Headers, RequestHead};
use crate::limits::cut;

/// What a method is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Method {
    /// With the name of its API and its OpenTelemetry operation.
    Inference(&'static str, &'static str),
    /// Something else that only an inference server has.
    Metadata,
}

/// Service, API, and the methods of it that are calls to a model, each with its operation.
type Service = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const SERVICES: &[Service] = &[
    (
        "inference.GRPCInferenceService",
        "kserve_grpc",
        &[
            ("ModelInfer", "text_completion"),
            ("ModelStreamInfer", "text_completion"),
        ],
    ),
    (
        "tei.v1.Embed",
        "tei_grpc",
        &[
            ("Embed", "embeddings"),
            ("EmbedStream", "embeddings"),
            ("EmbedSparse", "embeddings"),
            ("EmbedSparseStream", "embeddings"),
            ("EmbedAll", "embeddings"),
            ("EmbedAllStream", "embeddings"),
        ],
    ),
    (
        "tei.v1.Predict",
        "tei_grpc",
        &[
            ("Predict", "classify"),
            ("PredictPair", "classify"),
            ("PredictStream", "classify"),
            ("PredictPairStream", "classify"),
        ],
    ),
    (
        "tei.v1.Rerank",
        "tei_grpc",
        &[("Rerank", "rerank"), ("RerankStream", "rerank")],
    ),
    ("tei.v1.Tokenize", "tei_grpc", &[]),
    ("tei.v1.Info", "tei_grpc", &[]),
    (
        "vllm.grpc.engine.VllmEngine",
        "vllm_grpc",
        &[("Generate", "text_completion"), ("Embed", "embeddings")],
    ),
    (
        "sglang.grpc.scheduler.SglangScheduler",
        "sglang_grpc",
        &[("Generate", "text_completion"), ("Embed", "embeddings")],
    ),
];

/// What `/service/method` is, if the service is one of inference servers.
pub fn method(path: &str) -> Option<Method> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let (_, api, methods) = SERVICES.iter().find(|(name, ..)| *name == service)?;
    let found = methods.iter().find(|(name, _)| *name == method);
    Some(found.map_or(Method::Metadata, |(_, operation)| {
        Method::Inference(api, operation)
    }))
}

/// A decoder for a call of a method that [`method`] knows.
pub fn decoder(api: &'static str, operation: &'static str, head: &RequestHead) -> Box<dyn Decoder> {
    let method = head.path().rsplit('/').next().unwrap_or_default();
    let names = (api, operation);
    let stream = method.ends_with("Stream") || method == "ModelStreamInfer";
    let layout = match api {
        "sglang_grpc" => Layout::Sglang,
        _ => Layout::Vllm,
    };
    match (api, method) {
        ("tei_grpc", _) => call::decoder(Tei::new(method), names, Some(stream), head),
        ("kserve_grpc", _) => call::decoder(KServeGrpc { stream }, names, Some(stream), head),
        (_, "Embed") => call::decoder(Embed { layout }, names, Some(false), head),
        // The request says whether its answer comes in pieces.
        _ => call::decoder(Generate::new(layout), names, Some(false), head),
    }
}

/// What the trailers say went wrong; None when nothing did, or they do not say.
pub fn error(trailers: &Headers) -> Option<CallError> {
    let code = trailers.first("grpc-status")?;
    if code == "0" {
        return None;
    }
    let name = code.parse().ok().and_then(|code: usize| CODES.get(code));
    Some(CallError {
        kind: name.map_or_else(|| "grpc_unknown_status".to_owned(), |name| format!("grpc_{name}")),
        message: trailers
            .first("grpc-message")
            .map(|message| cut(&percent_decoded(message)))
            .filter(|message| !message.is_empty()),
    })
}

/// Status codes in the order of their numbers.
const CODES: &[&str] = &[
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers(status: &str, message: &str) -> Headers {
        Headers(vec![
            ("grpc-status".into(), status.into()),
            ("grpc-message".into(), message.into()),
        ])
    }

    #[test]
    fn tells_calls_to_a_model_from_other_methods() {
        let kserve = |method_name: &str| method(&format!("/inference.GRPCInferenceService/{method_name}"));
        assert_eq!(
            kserve("ModelInfer"),
            Some(Method::Inference("kserve_grpc", "text_completion"))
        );
        assert_eq!(kserve("ServerLive"), Some(Method::Metadata));
        assert_eq!(
            method("/tei.v1.Embed/EmbedStream"),
            Some(Method::Inference("tei_grpc", "embeddings"))
        );
        assert_eq!(method("/grpc.health.v1.Health/Check"), None);
        assert_eq!(method("inference.GRPCInferenceService/ModelInfer"), None);
    }

    #[test]
    fn names_the_status_and_decodes_its_message() {
        assert_eq!(error(&trailers("0", "")), None);
        assert_eq!(error(&Headers::default()), None);
        let failed = error(&trailers("14", "model %22a%22 is loading, 100%")).unwrap();
        assert_eq!(failed.kind, "grpc_unavailable");
        assert_eq!(failed.message.as_deref(), Some("model \"a\" is loading, 100%"));
        assert_eq!(error(&trailers("99", "")).unwrap().kind, "grpc_unknown_status");
    }
}
