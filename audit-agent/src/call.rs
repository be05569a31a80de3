//! What was asked of a model and what it answered: the normal form of every inference API.
//!
//! In: filled by the decoders of [`crate::infer`]. Out: read by [`crate::record`]. `None` means that the
//! wire did not say, and what is not the server's own count says so. Times are nanoseconds of boot time.

mod about;

pub use about::{Admin, Attachment, Inventory, ModelEntry, Results, Thread, Upstream};

use serde_json::Value;
use std::collections::BTreeMap;

/// Where the token counts come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TokensSource {
    /// The server said so (`usage`, `timings`, `tokens_predicted`).
    ServerUsage,
    /// Counted from the tokens or logprob entries that the answer carried one by one.
    CountedTokens,
    /// The server gave no count: the pieces of the stream that carried something, most often one token each.
    CountedChunks,
    #[default]
    Unknown,
}

/// The server's own account of what went wrong.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CallError {
    /// As the API names it (`authentication_error`), else `http_<status>`, `client_abort`, `no_terminator`.
    pub kind: String,
    /// The server's words, or None.
    pub message: Option<String>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ToolCall {
    pub id: Option<String>,
    pub name: Option<String>,
    /// The arguments as text, as the model wrote them.
    pub arguments: String,
}

/// One answer; a request for `n` of them has several.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    pub index: u64,
    /// Joined text, cut at [`crate::limits::TEXT_BYTES`].
    pub text: String,
    /// What the model said before its answer, from a member of its own or from `<think>` and channel marks.
    pub reasoning: String,
    pub tool_calls: Vec<ToolCall>,
    /// As the server wrote it.
    pub finish_reason: Option<String>,
}

/// Token log-probabilities of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Confidence {
    pub tokens: u64,
    pub mean_logprob: f64,
    pub min_logprob: f64,
}

/// One inference, or one of the two other things that are told to such servers ([`Call::admin`], [`Call::inventory`]).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// Which API family decoded it; `docs/record-format.md` lists them.
    pub api: &'static str,
    /// OpenTelemetry `gen_ai.operation.name`: `chat`, `text_completion`, `embeddings`.
    pub operation: &'static str,
    /// `llama_cpp`, `vllm`... when the bytes say so.
    pub provider: Option<&'static str>,
    pub model_requested: Option<String>,
    pub model_served: Option<String>,
    pub system_fingerprint: Option<String>,
    pub response_id: Option<String>,
    pub stream: Option<bool>,
    /// Request parameters as sent (temperature, max_tokens, seed, stop...), never prompts.
    pub params: BTreeMap<String, Value>,
    /// Parameters that the server says it used.
    pub effective_params: BTreeMap<String, Value>,
    /// The canonical bytes (RFC 8785) of `messages`, `prompt` or `input` as received; None when the request
    /// was not seen whole or is not JSON.
    pub prompt_canonical: Option<Vec<u8>>,
    /// Messages in the prompt, and how many of each role.
    pub prompt_roles: BTreeMap<String, u64>,
    pub choices: Vec<Choice>,
    /// Bytes over which the completion hash is taken: the text of each choice in order of its index (several
    /// are joined as a canonical JSON array of strings); None when the answer was not seen whole.
    pub completion_canonical: Option<Vec<u8>>,
    pub tools_offered: u64,
    /// Prompts, texts or documents of one request; None where it has one by its nature.
    pub inputs: Option<u64>,
    /// Answers that are no text.
    pub results: Option<Results>,
    /// Images, sounds and files of the request and of the answer.
    pub attachments: Vec<Attachment>,
    /// What it belongs to.
    pub thread: Thread,
    /// A LoRA adapter that was asked for.
    pub adapter: Option<String>,
    /// The prompt as the server rendered it, and a template that the request brought.
    pub rendered_prompt: Option<Vec<u8>>,
    pub chat_template: Option<Vec<u8>>,
    /// Microseconds by the server's own clock: `queue`, `load`, `prompt`, `generation`, `first_token`, `total`.
    pub server_timing_us: BTreeMap<&'static str, u64>,
    /// What a proxy in front, or a server that asks another, says.
    pub upstream: Upstream,
    /// Version of the API that the client asked for (`anthropic-version`, `mcp-protocol-version`).
    pub api_version: Option<String>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
    pub tokens_source: TokensSource,
    pub confidence: Option<Confidence>,
    /// Time of the first piece with text, reasoning or tool arguments.
    pub first_token_ns: Option<u64>,
    pub last_token_ns: Option<u64>,
    /// Pieces of a stream that carried content.
    pub chunks: u64,
    pub error: Option<CallError>,
    /// `user`, `safety_identifier`, `metadata.user_id` of the body, with the name of the field.
    pub end_user: Option<(&'static str, String)>,
    /// Anything of the body that was over a cap or not understood, by name; goes into the record.
    pub notes: Vec<&'static str>,
    /// It changed what the server serves, and was no inference.
    pub admin: Option<Admin>,
    /// It asked what the server serves, and was no inference.
    pub inventory: Option<Inventory>,
}

impl Call {
    /// Bytes of the prompt, as it was sent and as it was rendered, and of its template.
    pub fn held(&self) -> usize {
        let texts = [&self.prompt_canonical, &self.rendered_prompt, &self.chat_template];
        texts.into_iter().flatten().map(Vec::len).sum()
    }

    /// Gives them up.
    pub fn release(&mut self) {
        if self.held() > 0 {
            self.note("prompt_over_cap");
            (self.prompt_canonical, self.rendered_prompt, self.chat_template) = (None, None, None);
        }
    }

    /// Says `note` once.
    pub fn note(&mut self, note: &'static str) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
