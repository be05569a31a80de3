//! Messages as APIs write them: roles, and content that is no text.
//!
//! In: the members of a request or an answer that hold messages. Out: counts of roles, and [`Attachment`]s with length
//! and digest in place of pictures and sounds. Never: their bytes.

use super::json;
use crate::call::{Attachment, Call};
use crate::limits;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Nested contents (a tool's result with an image) are followed so deep.
const DEPTH: usize = 8;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Counts the roles of messages and notes what they carry besides text.
pub fn messages(call: &mut Call, messages: &Value) {
    for message in json::elements(Some(messages)) {
        if let Some(role) = json::text(message, "role") {
            role_of(call, role);
        }
        content(call, message.get("content"), DEPTH);
        // Ollama: pictures beside the content.
        images(call, message.get("images"));
    }
}

/// One more message of a role: a few known words; another is counted without being copied.
pub fn role_of(call: &mut Call, role: &str) {
    let known = match role {
        "system" | "developer" | "user" | "assistant" | "tool" | "function" => role,
        _ => "other",
    };
    *call.prompt_roles.entry(known.into()).or_default() += 1;
}

/// One picture or a list of them, as bare base64 or as a URL.
pub fn images(call: &mut Call, list: Option<&Value>) {
    let one = list.filter(|one| one.is_string());
    for image in json::elements(list).chain(one).filter_map(Value::as_str) {
        match image.contains(':') {
            true => reference(call, "image", Some(image), None),
            false => inline(call, "image", "request", None, image),
        }
    }
}

/// Content: a text, or a list of parts of which some are none.
pub fn content(call: &mut Call, content: Option<&Value>, depth: usize) {
    for part in json::elements(content).filter(|_| depth > 0) {
        self::part(call, part);
        self::content(call, part.get("content"), depth - 1);
        // LlamaIndex and MCP: a resource inside a part.
        if let Some(data) = json::at(part, &["resource", "blob"]).and_then(Value::as_str) {
            inline(call, "file", "request", None, data);
        }
    }
}

fn part(call: &mut Call, part: &Value) {
    let kind = json::text(part, "type").unwrap_or_default();
    let link = |name: &str| {
        let member = part.get(name)?;
        member.as_str().or_else(|| json::text(member, "url"))
    };
    match kind {
        "image_url" | "input_image" => {
            reference(call, "image", link("image_url"), json::text(part, "file_id"))
        }
        "audio_url" => reference(call, "audio", link("audio_url"), None),
        "video_url" => reference(call, "video", link("video_url"), None),
        "input_audio" | "audio" => {
            let audio = part
                .get("input_audio")
                .or_else(|| part.get("audio"))
                .unwrap_or(part);
            let format = json::text(audio, "format").map(|format| format!("audio/{}", limits::cut(format)));
            if let Some(data) = json::text(audio, "data").or_else(|| audio.as_str()) {
                inline(call, "audio", "request", format, data);
            }
        }
        "file" | "input_file" => {
            let file = part.get("file").unwrap_or(part);
            reference(
                call,
                "file",
                json::text(file, "file_data").or_else(|| json::text(file, "file_url")),
                json::text(file, "file_id"),
            );
        }
        "image" | "document" => source(call, if kind == "image" { "image" } else { "file" }, part),
        _ => {}
    }
}

/// Anthropic: `source{type, media_type, data|url|file_id}`; LM Studio: `data_url`; MCP: `data` and `mimeType`.
fn source(call: &mut Call, kind: &'static str, part: &Value) {
    let source = part.get("source").unwrap_or(part);
    let mime = json::word_of(source, "media_type").or_else(|| json::word_of(source, "mimeType"));
    match json::text(source, "data") {
        Some(data) if json::text(source, "type") != Some("text") => inline(call, kind, "request", mime, data),
        Some(_) => {}
        None => reference(
            call,
            kind,
            json::text(source, "url").or_else(|| json::text(source, "data_url")),
            json::text(source, "file_id"),
        ),
    }
}

fn reference(call: &mut Call, kind: &'static str, url: Option<&str>, id: Option<&str>) {
    let (source, text) = match (url, id) {
        (Some(url), _) if url.starts_with("data:") => {
            let (head, data) = url.split_once(',').unwrap_or((url, ""));
            let mime = head.trim_start_matches("data:").split(';').next();
            let mime = mime.filter(|mime| !mime.is_empty()).map(limits::cut);
            return inline(call, kind, "request", mime, data);
        }
        (Some(url), _) => ("url", url),
        (None, Some(id)) => ("file_id", id),
        (None, None) => return,
    };
    let sha256 = Some(Sha256::digest(text).into());
    add(
        call,
        Attachment {
            kind,
            direction: "request",
            source,
            sha256,
            ..Attachment::default()
        },
    );
}

/// Something in base64. What is not base64 has no length and no digest.
pub fn inline(
    call: &mut Call,
    kind: &'static str,
    direction: &'static str,
    mime: Option<String>,
    data: &str,
) {
    let whole = !call.notes.contains(&super::family::REQUEST_SQUEEZED);
    let bytes = BASE64.decode(data).ok().filter(|_| whole);
    add(
        call,
        Attachment {
            kind,
            direction,
            source: "inline",
            mime,
            bytes: bytes.as_ref().map(|bytes| bytes.len() as u64),
            sha256: bytes.map(|bytes| Sha256::digest(bytes).into()),
        },
    );
}

pub fn add(call: &mut Call, attachment: Attachment) {
    if call.attachments.len() < limits::ATTACHMENTS {
        call.attachments.push(attachment);
    } else {
        call.note("attachments_over_cap");
    }
}
