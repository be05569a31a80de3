//! Fields of HTTP/2 messages as heads (RFC 9113 section 8.3).
//!
//! In: decoded field blocks. Out: heads with names in lower case, pseudo-fields apart. Never: a pseudo-field invented: what
//! is not known stays empty.

use super::hpack::Block;
use crate::http::{Headers, HttpVersion, RequestHead, ResponseHead};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn pseudo(block: &Block, name: &str) -> Option<String> {
    let mut fields = block.fields.iter();
    fields
        .find(|(key, _)| key == name.as_bytes())
        .map(|(_, value)| text(value))
}

/// The fields that are no pseudo-fields; `:authority` is told as the `host` that it stands for.
pub fn headers(block: &Block) -> Headers {
    let name = |name: &[u8]| match name {
        b":authority" => Some("host".to_owned()),
        [b':', ..] => None,
        other => Some(text(other).to_ascii_lowercase()),
    };
    let fields = block.fields.iter();
    Headers(
        fields
            .filter_map(|(key, value)| Some((name(key)?, text(value))))
            .collect(),
    )
}

/// Method and target are empty where they are not known.
pub fn request(block: &Block) -> RequestHead {
    RequestHead {
        method: pseudo(block, ":method").unwrap_or_default(),
        target: pseudo(block, ":path").unwrap_or_default(),
        version: HttpVersion::Http2,
        headers: headers(block),
    }
}

/// None without a status, unless the block is `partial`: nobody can tell then, and it is 0.
pub fn response(block: &Block, partial: bool) -> Option<ResponseHead> {
    let status = pseudo(block, ":status").and_then(|status| status.parse().ok());
    Some(ResponseHead {
        status: status.or(partial.then_some(0))?,
        version: HttpVersion::Http2,
        headers: headers(block),
    })
}

/// The length that a message says it has.
pub fn content_length(headers: &Headers) -> Option<u64> {
    headers.first("content-length")?.parse().ok()
}
