//! JSON of bodies: tolerant where servers and models are sloppy, strict where a guess would be needed.
//!
//! Duplicate keys: the last wins. Lone surrogates and bytes that are not UTF-8 become U+FFFD; `NaN` and `Infinity`, which
//! Python writes, become null. Depth is bounded by serde_json. Anything else that is not JSON is None.

use crate::limits::cut;
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
            serde_json::from_str(&mended(&text)).ok()
        }
    }
}

/// Replaces what is no JSON and yet is written: escapes `\ud800`..`\udfff` that are no pair, and words for numbers that
/// JSON does not have.
fn mended(text: &str) -> Cow<'_, str> {
    if !["\\ud", "\\uD", "NaN", "Infinity"]
        .iter()
        .any(|mark| text.contains(mark))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(at) = rest.find(['"', '\\', 'N', 'I', '-']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (kept, len) = if from.starts_with('"') {
            in_string = !in_string;
            ("\"", 1)
        } else if in_string {
            escape(from)
        } else {
            word(from)
        };
        out.push_str(kept);
        rest = from.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// What is at the start of `text`, outside of strings: what to write for it, and how long it is.
fn word(text: &str) -> (&str, usize) {
    for name in ["NaN", "Infinity", "-Infinity"] {
        if text.starts_with(name) {
            return ("null", name.len());
        }
    }
    first_char(text)
}

/// The same inside a string.
fn escape(text: &str) -> (&str, usize) {
    match (unit(text), text.get(6..).and_then(unit)) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (text.get(..12).unwrap_or_default(), 12),
        (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
        _ if text.starts_with('\\') => {
            let len = 1 + text.chars().nth(1).map_or(0, char::len_utf8);
            (text.get(..len).unwrap_or_default(), len)
        }
        _ => first_char(text),
    }
}

fn first_char(text: &str) -> (&str, usize) {
    let len = text.chars().next().map_or(1, char::len_utf8);
    (text.get(..len).unwrap_or_default(), len)
}

/// The UTF-16 unit of an escape at the start of `text`.
fn unit(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// A member that is a string.
pub fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

/// A member that is a string and not an empty one, cut to what a record may hold.
pub fn word_of(value: &Value, name: &str) -> Option<String> {
    text(value, name).filter(|text| !text.is_empty()).map(cut)
}

/// The member at the end of a path.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(*name))
}

/// The elements of a member that is an array; of anything else none.
pub fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    elements(value.get(name))
}

/// The elements of an array; of anything else none.
pub fn elements(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// A time in some unit as whole microseconds; `unit_us` is how many microseconds the unit has.
pub fn micros(value: &Value, name: &str, unit_us: f64) -> Option<u64> {
    let time = value.get(name)?.as_f64()? * unit_us;
    (0.0..9e15).contains(&time).then_some(time.round() as u64)
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
    fn numbers_that_json_lacks_are_null_outside_of_text() {
        let value = parse(br#"{"a":[NaN,-Infinity,Infinity,-1],"b":"NaN \" -Infinity"}"#).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": [null, null, null, -1], "b": "NaN \" -Infinity"})
        );
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
        assert_eq!(parse(b"{\"a\":Nan}"), None);
        assert_eq!(parse(b""), None);
    }
}
