//! JSON of bodies: tolerant where servers and models are sloppy, strict where a guess would be needed.
//!
//! Duplicate keys: the last wins. Lone surrogates and bytes that are not UTF-8 become U+FFFD. Depth is bounded by
//! serde_json. Anything else that is not JSON is None.

use crate::record::INTEGER_MAX;
use serde_json::Value;
use std::borrow::Cow;

/// The value of `bytes`, if they are JSON.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(error) if error.is_eof() => None,
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            serde_json::from_str(&without_lone_surrogates(&text)).ok()
        }
    }
}

/// Replaces `\ud800`..`\udfff` escapes that are no pair.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (kept, len) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (escape.get(..12), 12),
            (Some(0xd800..=0xdfff), _) => (Some("\\ufffd"), 6),
            _ => {
                let len = 1 + escape.chars().nth(1).map_or(0, char::len_utf8);
                (escape.get(..len), len)
            }
        };
        out.push_str(kept.unwrap_or_default());
        rest = escape.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The UTF-16 unit of an escape at the start of `text`.
fn unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// A member that is a string.
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// A member that is a whole number, and one that a record can hold: a larger one is no count of anything.
pub fn number(value: &Value, name: &str) -> Option<u64> {
    let member = value.get(name)?;
    let whole = |float: &f64| float.fract() == 0.0 && (0.0..9e15).contains(float);
    let number = member
        .as_u64()
        .or_else(|| member.as_f64().filter(whole).map(|float| float as u64));
    number.filter(|number| *number <= INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_do_not_cost_the_rest() {
        let value = parse(br#"{"a":"x\ud83dy","b":"\ud83d\ude00","c":"\\ud83d"}"#).unwrap();
        assert_eq!(
            (text(&value, "a"), text(&value, "b")),
            (Some("x\u{fffd}y"), Some("\u{1f600}"))
        );
        assert_eq!(text(&value, "c"), Some("\\ud83d"));
    }

    #[test]
    fn the_last_of_duplicate_keys_wins() {
        assert_eq!(parse(br#"{"a":1,"a":2}"#).unwrap()["a"], 2);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}").unwrap()["a"], "\u{fffd}");
    }

    #[test]
    fn a_count_that_no_record_can_hold_is_none() {
        let value = parse(br#"{"a":18446744073709551615,"b":9007199254740991,"c":-1,"d":2.0}"#).unwrap();
        let numbers = ["a", "b", "c", "d"].map(|name| number(&value, name));
        assert_eq!(numbers, [None, Some(INTEGER_MAX), None, Some(2)]);
    }

    #[test]
    fn hostile_bodies_are_no_json() {
        assert_eq!(parse(&b"[".repeat(100_000)), None);
        assert_eq!(parse(b"{\"a\":NaN}"), None);
        assert_eq!(parse(b""), None);
    }
}
