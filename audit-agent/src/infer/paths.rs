//! Which request paths are calls to a model, and which tell that a server is one.
//!
//! Matched as suffixes, since servers mount prefixes. Facts: the servers' own route tables.

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    OpenAiChat,
    LlamaCppCompletion,
    /// An inference API that is known and not decoded; with its OpenTelemetry operation.
    Undecoded(&'static str),
    Metadata,
}

/// The first row that fits wins, so longer paths stand before their own suffixes.
const POST: &[(&str, Route)] = &[
    ("/chat/completions", Route::OpenAiChat),
    ("/v1/completions", Route::Undecoded("text_completion")),
    ("/completion", Route::LlamaCppCompletion),
    ("/completions", Route::LlamaCppCompletion),
    ("/v1/embeddings", Route::Undecoded("embeddings")),
    ("/embeddings", Route::Undecoded("embeddings")),
    ("/embedding", Route::Undecoded("embeddings")),
    ("/embed", Route::Undecoded("embeddings")),
    ("/embed_all", Route::Undecoded("embeddings")),
    ("/embed_sparse", Route::Undecoded("embeddings")),
    ("/responses", Route::Undecoded("chat")),
    ("/v1/messages", Route::Undecoded("chat")),
    ("/api/generate", Route::Undecoded("text_completion")),
    ("/api/chat", Route::Undecoded("chat")),
    ("/infill", Route::Undecoded("text_completion")),
    ("/generate", Route::Undecoded("text_completion")),
    ("/generate_stream", Route::Undecoded("text_completion")),
    ("/invocations", Route::Undecoded("chat")),
    ("/rerank", Route::Undecoded("rerank")),
    ("/reranking", Route::Undecoded("rerank")),
    ("/score", Route::Undecoded("rerank")),
    ("/classify", Route::Undecoded("classify")),
    ("/pooling", Route::Undecoded("embeddings")),
    ("/audio/transcriptions", Route::Undecoded("transcription")),
    ("/audio/speech", Route::Undecoded("speech")),
    ("/images/generations", Route::Undecoded("image_generation")),
    ("/api/v1/chat", Route::Undecoded("chat")),
    ("/tokenize", Route::Metadata),
    ("/detokenize", Route::Metadata),
    ("/apply-template", Route::Metadata),
    ("/api/show", Route::Metadata),
];

const GET: &[&str] = &[
    "/v1/models",
    "/models",
    "/props",
    "/slots",
    "/info",
    "/api/tags",
    "/api/ps",
    "/api/version",
    "/get_server_info",
    "/get_model_info",
    "/lora-adapters",
];

/// What a request is, from its method and its path without the query.
pub fn route(method: &str, path: &str) -> Option<Route> {
    let path = path.trim_end_matches('/');
    match method {
        "POST" | "PUT" => {
            let kserve = path.contains("/v2/models/");
            let kserve = kserve
                && ["/infer", "/generate", "/generate_stream"]
                    .iter()
                    .any(|end| path.ends_with(end));
            if kserve {
                return Some(Route::Undecoded("text_completion"));
            }
            POST.iter()
                .find(|(suffix, _)| path.ends_with(suffix))
                .map(|(_, route)| *route)
        }
        "GET" => GET
            .iter()
            .any(|suffix| path.ends_with(suffix))
            .then_some(Route::Metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_native_completions_from_openai_ones() {
        assert_eq!(route("POST", "/completion"), Some(Route::LlamaCppCompletion));
        assert_eq!(route("POST", "/completions"), Some(Route::LlamaCppCompletion));
        assert_eq!(
            route("POST", "/v1/completions"),
            Some(Route::Undecoded("text_completion"))
        );
        assert_eq!(
            route("POST", "/prefix/v1/chat/completions"),
            Some(Route::OpenAiChat)
        );
    }

    #[test]
    fn other_requests_are_no_calls() {
        assert_eq!(route("GET", "/v1/models"), Some(Route::Metadata));
        assert_eq!(route("GET", "/v1/chat/completions"), None);
        assert_eq!(route("POST", "/login"), None);
        assert_eq!(route("OPTIONS", "/v1/chat/completions"), None);
    }
}
