//! Parts of a call that only some APIs have, and the two kinds of call that are no inference.

/// Vectors, scores, labels, tokens or images.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Results {
    pub count: u64,
    /// Numbers in one vector.
    pub dimensions: Option<u64>,
}

/// Something of a message that is no text. Its bytes are not kept.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attachment {
    /// `image`, `audio`, `video`, `file`.
    pub kind: &'static str,
    /// `request` or `response`.
    pub direction: &'static str,
    /// `inline`, `url` (the server fetches it), `file_id` (the server has it).
    pub source: &'static str,
    pub mime: Option<String>,
    /// Length after base64; of a URL or an identifier None.
    pub bytes: Option<u64>,
    /// Of the bytes after base64, or of the URL or identifier as text; None when it was not seen whole.
    pub sha256: Option<[u8; 32]>,
}

/// What a call belongs to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Thread {
    /// A session id as it was sent; records have its keyed hash, since some servers take it as a credential.
    pub session: Option<String>,
    pub conversation_id: Option<String>,
    /// The answer that this call goes on from: the server adds to the prompt what is not on the wire.
    pub previous_response_id: Option<String>,
}

/// What is said of another server behind this one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upstream {
    /// The model's name there.
    pub model: Option<String>,
    /// The proxy's own id of that model in that place (`x-litellm-model-id`).
    pub model_id: Option<String>,
    /// Where it is: a host or a URL without its query.
    pub host: Option<String>,
    /// A proxy's own id of the call (`x-litellm-call-id`).
    pub call_id: Option<String>,
    /// What the proxy says that the call costs, in US dollars: a decimal number as it was written.
    pub cost_usd: Option<String>,
    /// How often the client, or the proxy, tried before.
    pub retry_count: Option<u64>,
}

/// A request that changes what a server serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Admin {
    /// `pull`, `create`, `load`...; `docs/record-format.md` lists them.
    pub action: &'static str,
    pub model: Option<String>,
    /// Digest of the weights where request or answer has one, as it was written.
    pub digest: Option<String>,
    /// What the model is made of or loaded from: another model, a path, a URL.
    pub source: Option<String>,
}

/// What a server says that it serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Inventory {
    /// Which answer it was: `openai_models`, `ollama_ps`...
    pub source: &'static str,
    pub server_version: Option<String>,
    /// By name.
    pub models: Vec<ModelEntry>,
    /// The answer had more than [`crate::limits::INVENTORY_MODELS`].
    pub truncated: bool,
}

/// One model of an inventory.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ModelEntry {
    pub name: String,
    /// Digest or revision, as the server wrote it.
    pub digest: Option<String>,
    /// Where the server has its weights from.
    pub path: Option<String>,
    pub architecture: Option<String>,
    pub quantisation: Option<String>,
    /// The model that an adapter or an alias stands on.
    pub parent: Option<String>,
    pub context_length: Option<u64>,
    pub size_bytes: Option<u64>,
    pub loaded: Option<bool>,
    /// Of its chat template as text.
    pub template_sha256: Option<[u8; 32]>,
}
