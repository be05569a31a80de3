//! Which request paths are calls to a model, which change or tell what a server serves, and which are noise.
//!
//! Matched as suffixes, since servers mount prefixes. Facts: the servers' own route tables.

use super::Decoder;
use super::admin::Change;
use super::anthropic::Messages;
use super::completions::Completions;
use super::embeddings::Embeddings;
use super::family::decoder;
use super::generate::Generate;
use super::inventory::{Question, Source};
use super::kserve::KServe;
use super::llama_cpp::Completion;
use super::lm_studio::LmStudio;
use super::mcp::Mcp;
use super::media::Media;
use super::ollama::Ollama;
use super::openai_chat::OpenAiChat;
use super::rerank::Scores;
use super::responses::Responses;
use super::tokenize::Tokens;
use super::undecoded::Undecoded;
use super::vertex::Vertex;
use crate::http::RequestHead;

/// What a path is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Route {
    OpenAiChat,
    Completions,
    /// With its operation.
    Responses(&'static str),
    /// With the name of its API.
    Embeddings(&'static str),
    /// With its OpenTelemetry operation, as in the others below.
    Scores(&'static str),
    Media(&'static str),
    Tokens(&'static str),
    Messages,
    OllamaGenerate,
    OllamaChat,
    LlamaCpp {
        infill: bool,
    },
    Generate,
    LmStudio,
    KServe,
    Vertex,
    Mcp,
    Undecoded(&'static str),
    Admin(&'static str),
    Inventory(Source),
    /// Only inference servers have it, and what it says is of no lasting interest.
    Noise,
}

/// POST, and PUT for servers that take both. The first row that fits wins, so longer paths stand before their own suffixes.
const POST: &[(&str, Route)] = &[
    ("/chat/completions/input_tokens", Route::Tokens("count_tokens")),
    ("/chat/completions/control", Route::Noise),
    ("/chat/completions", Route::OpenAiChat),
    ("/v1/completions", Route::Completions),
    ("/api/v0/completions", Route::Completions),
    ("/completion", Route::LlamaCpp { infill: false }),
    ("/completions", Route::LlamaCpp { infill: false }),
    ("/infill", Route::LlamaCpp { infill: true }),
    ("/v1/systemone", Route::Undecoded("text_completion")),
    ("/responses/input_tokens", Route::Tokens("count_tokens")),
    ("/responses", Route::Responses("chat")),
    ("/responses/compact", Route::Responses("compact")),
    ("/v1/messages/count_tokens", Route::Tokens("count_tokens")),
    ("/messages/count_tokens", Route::Tokens("count_tokens")),
    ("/v1/messages", Route::Messages),
    ("/api/generate", Route::OllamaGenerate),
    ("/api/v1/chat", Route::LmStudio),
    ("/api/chat", Route::OllamaChat),
    ("/api/embed", Route::Embeddings("ollama_embed")),
    ("/api/embeddings", Route::Embeddings("ollama_embed")),
    ("/v1/embeddings", Route::Embeddings("openai_embeddings")),
    ("/embeddings", Route::Embeddings("openai_embeddings")),
    ("/embedding", Route::Embeddings("llama_cpp_embedding")),
    ("/embed", Route::Embeddings("tei_embed")),
    ("/embed_all", Route::Embeddings("tei_embed")),
    ("/embed_sparse", Route::Embeddings("tei_embed")),
    ("/pooling", Route::Embeddings("vllm_pooling")),
    ("/encode", Route::Embeddings("sglang_encode")),
    ("/rerank", Route::Scores("rerank")),
    ("/reranking", Route::Scores("rerank")),
    ("/score", Route::Scores("rerank")),
    ("/similarity", Route::Scores("similarity")),
    ("/classify", Route::Scores("classify")),
    ("/predict", Route::Vertex),
    ("/vertex", Route::Vertex),
    ("/vertex_generate", Route::Vertex),
    ("/generate", Route::Generate),
    ("/generate_stream", Route::Generate),
    ("/invocations", Route::OpenAiChat),
    ("/audio/transcriptions", Route::Media("transcription")),
    ("/audio/translations", Route::Media("translation")),
    ("/audio/speech", Route::Media("speech")),
    ("/images/generations", Route::Media("image_generation")),
    ("/images/edits", Route::Media("image_edit")),
    ("/images/variations", Route::Media("image_edit")),
    ("/apply-template", Route::Tokens("apply_template")),
    ("/detokenize", Route::Tokens("detokenize")),
    ("/decode", Route::Tokens("detokenize")),
    ("/tokenize", Route::Tokens("tokenize")),
    ("/chat_tokenize", Route::Tokens("tokenize")),
    ("/mcp", Route::Mcp),
    ("/api/show", Route::Inventory(Source::OllamaShow)),
    ("/api/pull", Route::Admin("pull")),
    ("/api/push", Route::Admin("push")),
    ("/api/create", Route::Admin("create")),
    ("/api/copy", Route::Admin("copy")),
    ("/models/load", Route::Admin("load")),
    ("/models/unload", Route::Admin("unload")),
    ("/models/reload", Route::Admin("load")),
    ("/models/download", Route::Admin("pull")),
    ("/models/apply", Route::Admin("pull")),
    ("/models/import", Route::Admin("pull")),
    ("/backend/load", Route::Admin("load")),
    ("/backend/shutdown", Route::Admin("unload")),
    ("/load_lora_adapter", Route::Admin("lora_load")),
    ("/unload_lora_adapter", Route::Admin("lora_unload")),
    ("/lora-adapters", Route::Admin("lora_set")),
    ("/update_weights_from_disk", Route::Admin("weights_update")),
    ("/update_weights_from_tensor", Route::Admin("weights_update")),
    ("/update_weights_from_distributed", Route::Admin("weights_update")),
    ("/update_weights", Route::Admin("weights_update")),
    ("/sleep", Route::Admin("unload")),
    ("/wake_up", Route::Admin("load")),
    ("/v1/realtime/sessions", Route::Noise),
];

const DELETE: &[(&str, Route)] = &[("/api/delete", Route::Admin("delete"))];

const GET: &[(&str, Route)] = &[
    ("/v1/models", Route::Inventory(Source::Models)),
    ("/api/v0/models", Route::Inventory(Source::Models)),
    ("/models", Route::Inventory(Source::Models)),
    ("/props", Route::Inventory(Source::Props)),
    ("/info", Route::Inventory(Source::Info)),
    ("/api/tags", Route::Inventory(Source::OllamaTags)),
    ("/api/ps", Route::Inventory(Source::OllamaPs)),
    ("/api/version", Route::Inventory(Source::Version)),
    ("/version", Route::Inventory(Source::Version)),
    ("/get_server_info", Route::Inventory(Source::ServerInfo)),
    ("/get_model_info", Route::Inventory(Source::ServerInfo)),
    ("/lora-adapters", Route::Inventory(Source::Lora)),
    ("/slots", Route::Noise),
    ("/v1/streams", Route::Noise),
];

fn find(table: &[(&str, Route)], path: &str) -> Option<Route> {
    let row = table.iter().find(|(suffix, _)| path.ends_with(suffix))?;
    Some(row.1)
}

/// What a request is, from its method and its path without the query.
pub fn route(method: &str, path: &str) -> Option<Route> {
    let path = path.trim_end_matches('/');
    match method {
        "POST" | "PUT" => repository(path)
            .or_else(|| find(POST, path))
            .or_else(|| cancelled(path)),
        "GET" => find(GET, path)
            .or_else(|| one_model(path))
            .or_else(|| stored(path)),
        "DELETE" => find(DELETE, path),
        _ => None,
    }
}

/// `/v2/models/:m[/versions/:v]/infer`, `/v2/repository/models/:m/load`.
fn repository(path: &str) -> Option<Route> {
    if path.contains("/v2/models/") {
        let ends = ["/infer", "/generate", "/generate_stream"];
        return ends
            .iter()
            .any(|end| path.ends_with(end))
            .then_some(Route::KServe);
    }
    if path.contains("/repository/models/") {
        return match path.rsplit('/').next() {
            Some("load") => Some(Route::Admin("load")),
            Some("unload") => Some(Route::Admin("unload")),
            _ => None,
        };
    }
    path.contains("/models/delete/").then_some(Route::Admin("delete"))
}

/// `/v2/models/:m`, `/v1/models/:m`: one entry of a list.
fn one_model(path: &str) -> Option<Route> {
    if path.contains("/v1/models/") {
        return Some(Route::Inventory(Source::Models));
    }
    let (_, model) = path.split_once("/v2/models/")?;
    let known = !model.ends_with("/ready") && !model.ends_with("/stats") && !model.ends_with("/config");
    known.then_some(Route::Inventory(Source::KServe))
}

/// An answer that the server keeps: `/v1/responses/:id`.
fn stored(path: &str) -> Option<Route> {
    let (_, id) = path.rsplit_once("/responses/")?;
    (!id.contains('/')).then_some(Route::Responses("retrieve"))
}

fn cancelled(path: &str) -> Option<Route> {
    (path.contains("/responses/") && path.ends_with("/cancel")).then_some(Route::Responses("cancel"))
}

/// The decoder of a route.
pub fn decoder_of(route: Route, head: &RequestHead) -> Option<Box<dyn Decoder>> {
    let path = head.path();
    Some(match route {
        Route::OpenAiChat => decoder(OpenAiChat, head),
        Route::Completions => decoder(Completions, head),
        Route::Responses(operation) => decoder(Responses { operation }, head),
        Route::Embeddings(api) => decoder(Embeddings { api }, head),
        Route::Scores(operation) => decoder(Scores { operation }, head),
        Route::Media(operation) => decoder(Media { operation }, head),
        Route::Tokens(operation) => decoder(Tokens { operation }, head),
        Route::Messages => decoder(Messages, head),
        Route::OllamaGenerate => decoder(Ollama::generate(), head),
        Route::OllamaChat => decoder(Ollama::chat(), head),
        Route::LlamaCpp { infill } => decoder(Completion { infill }, head),
        Route::Generate => decoder(Generate::default(), head),
        Route::LmStudio => decoder(LmStudio, head),
        Route::KServe => decoder(KServe::new(path.trim_end_matches('/')), head),
        Route::Vertex => decoder(Vertex::default(), head),
        Route::Mcp => decoder(Mcp::default(), head),
        Route::Undecoded(operation) => decoder(Undecoded { operation }, head),
        Route::Admin(action) => decoder(Change::new(action, path), head),
        Route::Inventory(source) => decoder(Question::new(source, path), head),
        Route::Noise => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_native_completions_from_openai_ones() {
        let native = Some(Route::LlamaCpp { infill: false });
        assert_eq!(route("POST", "/completion"), native);
        assert_eq!(route("POST", "/completions"), native);
        assert_eq!(route("POST", "/v1/completions"), Some(Route::Completions));
        let mounted = route("POST", "/prefix/v1/chat/completions");
        assert_eq!(mounted, Some(Route::OpenAiChat));
    }

    #[test]
    fn longer_paths_are_not_taken_for_their_ends() {
        assert_eq!(route("POST", "/api/v1/chat"), Some(Route::LmStudio));
        assert_eq!(route("POST", "/api/chat"), Some(Route::OllamaChat));
        assert_eq!(
            route("POST", "/api/embeddings"),
            Some(Route::Embeddings("ollama_embed"))
        );
        assert_eq!(
            route("POST", "/v2/models/m/versions/1/generate"),
            Some(Route::KServe)
        );
        assert_eq!(
            route("POST", "/v2/repository/models/m/load"),
            Some(Route::Admin("load"))
        );
        assert_eq!(
            route("GET", "/v1/responses/resp_1"),
            Some(Route::Responses("retrieve"))
        );
    }

    #[test]
    fn no_row_stands_behind_its_own_suffix() {
        for (at, (path, _)) in POST.iter().enumerate() {
            let shadowed = POST.iter().take(at).find(|(before, _)| path.ends_with(before));
            assert_eq!(shadowed, None, "{path}");
        }
    }

    #[test]
    fn other_requests_are_no_calls() {
        assert_eq!(route("GET", "/v1/models"), Some(Route::Inventory(Source::Models)));
        for (method, path) in [
            ("GET", "/v1/chat/completions"),
            ("POST", "/login"),
            ("OPTIONS", "/v1/chat/completions"),
            ("GET", "/health"),
            ("GET", "/metrics"),
            ("GET", "/v2/models/m/ready"),
        ] {
            assert_eq!(route(method, path), None, "{method} {path}");
        }
    }
}
