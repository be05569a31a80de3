//! What servers say when something went wrong, in all the shapes that they say it in.

use super::json;
use crate::call::CallError;
use crate::limits::cut;
use serde_json::Value;

/// The error of an answer with a status that is not a success; the body may be empty, text or HTML.
pub fn of_status(status: u16, body: &[u8]) -> CallError {
    let spoken = json::parse(body).and_then(|value| of_body(&value).or_else(|| bare(&value)));
    let kind = format!("http_{status}");
    match spoken {
        Some(error) if error.kind == UNNAMED => CallError { kind, ..error },
        Some(error) => error,
        None => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            CallError {
                kind,
                message: (!text.is_empty()).then(|| cut(text)),
            }
        }
    }
}

/// `{message, code, type}` without a wrapper: what an answer may have too, and so only read of one that failed.
fn bare(value: &Value) -> Option<CallError> {
    let message = json::text(value, "message")?;
    Some(named(kind_of(value), Some(message)))
}

/// The kind of an error whose server gives it no name.
pub const UNNAMED: &str = "error";

/// The error that a JSON answer holds, if it holds one.
pub fn of_body(value: &Value) -> Option<CallError> {
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        return Some(match error {
            Value::String(message) => named(json::text(value, "error_type"), Some(message)),
            object => named(kind_of(object), json::text(object, "message")),
        });
    }
    if json::text(value, "object") == Some("error") {
        return Some(named(kind_of(value), json::text(value, "message")));
    }
    match value.get("detail")? {
        Value::String(message) => Some(named(None, Some(message))),
        Value::Array(list) => Some(named(
            None,
            list.first().and_then(|first| json::text(first, "msg")),
        )),
        _ => Some(named(None, None)),
    }
}

fn kind_of(object: &Value) -> Option<&str> {
    json::text(object, "type").or_else(|| json::text(object, "code"))
}

fn named(kind: Option<&str>, message: Option<&str>) -> CallError {
    CallError {
        kind: cut(kind.unwrap_or(UNNAMED)),
        message: message.map(cut),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_shape() {
        let cases: &[(u16, &str, &str, Option<&str>)] = &[
            (
                401,
                r#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#,
                "authentication_error",
                Some("Invalid API Key"),
            ),
            (
                401,
                r#"{"error":"Unauthorized"}"#,
                "http_401",
                Some("Unauthorized"),
            ),
            (
                422,
                r#"{"error":"too long","error_type":"validation"}"#,
                "validation",
                Some("too long"),
            ),
            (
                400,
                r#"{"object":"error","message":"m","type":"BadRequestError"}"#,
                "BadRequestError",
                Some("m"),
            ),
            (404, r#"{"detail":"Not Found"}"#, "http_404", Some("Not Found")),
            (
                422,
                r#"{"detail":[{"loc":[],"msg":"field required"}]}"#,
                "http_422",
                Some("field required"),
            ),
            (500, r#"{"error":{}}"#, "http_500", None),
            (
                502,
                "<html>Bad Gateway</html>",
                "http_502",
                Some("<html>Bad Gateway</html>"),
            ),
            (503, "", "http_503", None),
        ];
        for (status, body, kind, message) in cases {
            let error = of_status(*status, body.as_bytes());
            assert_eq!(
                (error.kind.as_str(), error.message.as_deref()),
                (*kind, *message),
                "{body}"
            );
        }
    }

    #[test]
    fn an_answer_without_error_has_none() {
        assert_eq!(of_body(&serde_json::json!({"error": null, "choices": []})), None);
    }
}
