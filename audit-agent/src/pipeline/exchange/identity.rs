//! Who asks, as far as the head of a request says so.
//!
//! In: a request's head. Out: the API key and the user that it names. Never: a placeholder taken for a key.

use crate::http::{Headers, RequestHead, target};
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

/// Fields that hold a key and nothing else.
const KEY_FIELDS: &[&str] = &["x-api-key", "api-key", "xi-api-key", "x-goog-api-key"];

/// Members of a query that do: Google's and Azure's names, and that of RFC 6750 section 2.3.
const KEY_QUERIES: &[&str] = &["key", "api-key", "api_key", "access_token"];

/// A browser cannot set fields of a WebSocket's handshake, so OpenAI's realtime API takes the key as a subprotocol.
const KEY_PROTOCOL: &str = "openai-insecure-api-key.";

/// The key that a request is sent with, wherever it stands.
pub fn api_key(head: &RequestHead) -> Option<String> {
    let headers = &head.headers;
    let fields = KEY_FIELDS.iter().filter_map(|name| headers.first(name));
    let found = bearer(headers).into_iter().chain(fields);
    let found = found.chain(cookie(headers)).chain(subprotocol(headers));
    let query = || target::query(&head.target, KEY_QUERIES);
    let named = |key: &str| !DUMMY_KEYS.contains(&key);
    let mut found = found.filter(|key| named(key));
    found
        .next()
        .map(str::to_owned)
        .or_else(|| query().filter(|key| named(key)))
}

/// `Authorization: Bearer key`; llama.cpp takes the key alone too, and of another scheme all is the key.
fn bearer(headers: &Headers) -> Option<&str> {
    let value = headers.first("authorization")?;
    Some(match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key.trim(),
        _ => value,
    })
}

/// LocalAI's pages keep the key in the cookie `token`.
fn cookie(headers: &Headers) -> Option<&str> {
    let pairs = headers.all("cookie").flat_map(|value| value.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == "token").then_some(value))
}

fn subprotocol(headers: &Headers) -> Option<&str> {
    let offered = headers
        .all("sec-websocket-protocol")
        .flat_map(|value| value.split(','));
    offered
        .map(str::trim)
        .find_map(|protocol| protocol.strip_prefix(KEY_PROTOCOL))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::HttpVersion;

    fn key(target: &str, fields: &[(&str, &str)]) -> Option<String> {
        let fields = fields
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        api_key(&RequestHead {
            method: "POST".into(),
            target: target.into(),
            version: HttpVersion::Http11,
            headers: Headers(fields.collect()),
        })
    }

    #[test]
    fn one_key_is_the_same_wherever_it_stands() {
        let protocols = "realtime, openai-insecure-api-key.sk-1/a, openai-beta.realtime-v1";
        let places: &[(&str, &[(&str, &str)])] = &[
            ("/", &[("authorization", "Bearer sk-1/a")]),
            ("/", &[("authorization", "sk-1/a")]),
            ("/", &[("x-api-key", "sk-1/a")]),
            ("/", &[("cookie", "a=b; token=sk-1/a")]),
            ("/v1/realtime", &[("sec-websocket-protocol", protocols)]),
            (
                "/v1/realtime",
                &[
                    ("sec-websocket-protocol", "realtime"),
                    ("sec-websocket-protocol", "openai-insecure-api-key.sk-1/a"),
                ],
            ),
            ("/v1/models?key=sk-1%2Fa", &[]),
            ("/v1/realtime?model=m&api-key=sk-1/a", &[]),
            ("/?key=other", &[("authorization", "bearer sk-1/a")]),
        ];
        for (target, fields) in places {
            assert_eq!(
                key(target, fields).as_deref(),
                Some("sk-1/a"),
                "{target} {fields:?}"
            );
        }
    }

    #[test]
    fn a_placeholder_is_no_key_and_hides_none() {
        assert_eq!(key("/?key=none", &[("authorization", "Bearer EMPTY")]), None);
        assert_eq!(
            key("/", &[("authorization", "Bearer dummy"), ("x-api-key", "sk-1")]).as_deref(),
            Some("sk-1")
        );
        assert_eq!(key("/", &[("sec-websocket-protocol", "realtime")]), None);
        assert_eq!(key("/", &[]), None);
    }
}
