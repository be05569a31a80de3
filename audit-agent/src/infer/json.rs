//! JSON of bodies: tolerant where servers and models are sloppy, strict where a guess would be needed.
//!
//! Duplicate keys: the last wins. Lone surrogates and bytes that are not UTF-8 become U+FFFD, but for those that the next event
//! of a stream may complete ([`parse_marked`]); `NaN` and `Infinity`, which Python writes, become null. Depth is bounded by
//! serde_json. Anything else that is not JSON is None.

use super::halves;
use crate::limits::cut;
use crate::record::INTEGER_MAX;
use serde_json::Value;
use std::borrow::Cow;

/// Members that say what is asked.
const ASKED: [&str; 10] = [
    "images", "input", "inputs", "messages", "model", "prompt", "query", "suffix", "system", "tools",
];

/// Whether a request says what it asks under another spelling of a name. Servers in Go take that for the name, and where both are
/// there, for the later one: what is read here may not be what was answered.
pub fn has_other_case(value: &Value) -> bool {
    let mut names = value.as_object().into_iter().flat_map(|members| members.keys());
    names.any(|name| !ASKED.contains(&name.as_str()) && ASKED.contains(&folded(name).as_str()))
}

/// A name without case, as `encoding/json` folds it: the long s and the sign for kelvin are letters there.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

/// The value of `bytes`, if they are JSON.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(error) if error.is_eof() => None,
        Err(_) => {
            let text = String::from_utf8_lossy(bytes);
            serde_json::from_str(&mended(&text, |_| char::REPLACEMENT_CHARACTER)).ok()
        }
    }
}

/// The same of one event of a stream: surrogates that are lone in it are marked in members that are pieces of text, and whether
/// there are any is said.
pub fn parse_marked(bytes: &[u8]) -> Option<(Value, bool)> {
    let value = match serde_json::from_slice(bytes) {
        Ok(value) => return Some((value, false)),
        Err(_) => parse(bytes)?,
    };
    let text = String::from_utf8_lossy(bytes);
    if halves::clashes(&value) {
        return Some((value, false));
    }
    let mut marked = serde_json::from_str(&mended(&text, halves::mark)).ok()?;
    halves::settle(&mut marked);
    let any = marked != value;
    Some((marked, any))
}

/// Replaces what is no JSON and yet is written: escapes `\ud800`..`\udfff` that are no pair, by what `lone` says, and words for
/// numbers that JSON does not have.
fn mended(text: &str, lone: fn(u32) -> char) -> Cow<'_, str> {
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
        if let Some(unit) = lone_half(from).filter(|_| in_string) {
            out.push(lone(unit));
            rest = from.get(6..).unwrap_or_default();
            continue;
        }
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

/// The same inside a string, where no lone half is.
fn escape(text: &str) -> (&str, usize) {
    match unit(text) {
        Some(0xd800..=0xdfff) => (text.get(..12).unwrap_or_default(), 12),
        _ if text.starts_with('\\') => {
            let len = 1 + text.chars().nth(1).map_or(0, char::len_utf8);
            (text.get(..len).unwrap_or_default(), len)
        }
        _ => first_char(text),
    }
}

/// The escape at the start of `text`, if it is a surrogate that is no pair with the one behind it.
fn lone_half(text: &str) -> Option<u32> {
    let half = unit(text).filter(|unit| (0xd800..=0xdfff).contains(unit))?;
    let second = text.get(6..).and_then(unit);
    let pair = half < 0xdc00 && matches!(second, Some(0xdc00..=0xdfff));
    (!pair).then_some(half)
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

    /// They do to a parser that was built with `raw_value` or `arbitrary_precision`: whoever writes them hides all behind them.
    #[test]
    fn no_name_means_anything_to_the_parser() {
        for name in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
            let value = parse(format!(r#"{{"{name}":"1","a":"x"}}"#).as_bytes()).unwrap();
            assert_eq!((text(&value, name), text(&value, "a")), (Some("1"), Some("x")));
        }
    }

    #[test]
    fn other_spellings_of_what_is_asked_are_known() {
        for (body, other) in [
            (r#"{"model":"m","messages":[]}"#, false),
            (r#"{"messages":[],"Messages":[]}"#, true),
            ("{\"me\u{17f}\u{17f}ages\":[]}", true),
            (r#"{"PROMPT":"x"}"#, true),
            (r#"{"Options":{}}"#, false),
            ("[1]", false),
        ] {
            assert_eq!(has_other_case(&parse(body.as_bytes()).unwrap()), other, "{body}");
        }
    }

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
