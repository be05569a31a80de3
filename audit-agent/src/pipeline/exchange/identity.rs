//! Who asks, as far as the head of a request says so.
//!
//! In: a request's head. Out: the API key and the user that it names. Never: a placeholder taken for a key.

use crate::http::RequestHead;
use crate::limits::cut;

/// Keys that clients send because a library asks for one: they name nobody.
const DUMMY_KEYS: &[&str] = &[
    "",
    "EMPTY",
    "dummy",
    "lm-studio",
    "lmstudio",
    "no-key",
    "none",
    "ollama",
    "sk-no-key-required",
];

pub fn api_key(head: &RequestHead) -> Option<&str> {
    let header = |name: &str| head.headers.first(name);
    let bearer = header("authorization").map(|value| match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => value,
    });
    let key = bearer.or_else(|| {
        ["x-api-key", "api-key", "xi-api-key", "x-goog-api-key"]
            .iter()
            .find_map(|n| header(n))
    });
    key.filter(|key| !DUMMY_KEYS.contains(key))
}

/// A user that a proxy in front names.
pub fn user_header(head: &RequestHead) -> Option<(&'static str, String)> {
    const NAMES: &[&str] = &[
        "x-user-id",
        "x-openwebui-user-id",
        "x-openwebui-user-email",
        "helicone-user-id",
        "x-litellm-end-user-id",
        "x-forwarded-user",
        "x-auth-request-email",
    ];
    NAMES
        .iter()
        .find_map(|name| head.headers.first(name).map(|value| (*name, cut(value))))
}
