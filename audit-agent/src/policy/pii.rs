//! Personal data and secrets in texts, masked before anything keeps them.
//!
//! In: text. Out: the same with `[email]`, `[phone]`, `[card]`, `[iban]` or `[secret]` in the place of each find, and how many of
//! each kind. Time is linear: what is looked at from one place has a limit, and what was found is not looked at again.
//! Never: a guess at names or addresses of houses; whoever needs those away stores no content.

mod numbers;
mod secrets;

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Longest part of an e-mail address on each side of its `@` (RFC 5321 section 4.5.3.1 has 64 and 255).
const ADDRESS_PART: usize = 255;

/// Shortest run of base64 that is taken for a picture or a sound: keys and signatures are shorter.
const MEDIA: usize = 2048;

/// What was masked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    Card,
    Email,
    Iban,
    /// A picture or a sound as base64.
    Media,
    Phone,
    Secret,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Email => "email",
            Self::Iban => "iban",
            Self::Media => "media",
            Self::Phone => "phone",
            Self::Secret => "secret",
        }
    }
}

/// Masks by kind.
pub type Counts = BTreeMap<&'static str, u64>;

/// Masks `text`; what was found is added to `counts`.
pub fn text(text: &str, counts: &mut Counts) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        let Some((kind, len)) = find(bytes, at) else {
            at += 1;
            continue;
        };
        // A find begins and ends at ASCII, so these are character boundaries.
        out.push_str(text.get(kept..at).unwrap_or_default());
        out.push('[');
        out.push_str(kind.name());
        out.push(']');
        *counts.entry(kind.name()).or_default() += 1;
        at += len.max(1);
        kept = at;
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    out
}

/// Masks every string, number and member name of `value`.
pub fn value(value: Value, counts: &mut Counts) -> Value {
    match value {
        Value::String(string) => Value::String(text(&string, counts)),
        Value::Array(items) => items.into_iter().map(|item| self::value(item, counts)).collect(),
        Value::Object(members) => Value::Object(object(members, counts)),
        Value::Number(number) => {
            let digits = number.to_string();
            let masked = text(&digits, counts);
            if masked == digits {
                Value::Number(number)
            } else {
                Value::String(masked)
            }
        }
        other => other,
    }
}

/// Two names that are masked to the same are told apart by a number.
fn object(members: Map<String, Value>, counts: &mut Counts) -> Map<String, Value> {
    let mut out = Map::new();
    let mut same: BTreeMap<String, u64> = BTreeMap::new();
    for (name, member) in members {
        let masked = text(&name, counts);
        let number = match masked == name {
            true => 1,
            false => *same
                .entry(masked.clone())
                .and_modify(|number| *number += 1)
                .or_insert(1),
        };
        let name = match number {
            1 => masked,
            number => format!("{masked}#{number}"),
        };
        out.insert(name, value(member, counts));
    }
    out
}

/// What begins at `at`, and its length.
fn find(bytes: &[u8], at: usize) -> Option<(Kind, usize)> {
    let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied();
    let rest = bytes.get(at..)?;
    let first = *rest.first()?;
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric()) || first.is_ascii_whitespace() {
        return None;
    }
    if let Some(len) = media(rest, before) {
        return Some((Kind::Media, len));
    }
    let secret = || secrets::find(rest, bytes.get(..at).unwrap_or_default());
    secret()
        .map(|len| (Kind::Secret, len))
        .or_else(|| email(rest, before).map(|len| (Kind::Email, len)))
        .or_else(|| numbers::iban(rest).map(|len| (Kind::Iban, len)))
        .or_else(|| numbers::card(rest).map(|len| (Kind::Card, len)))
        .or_else(|| numbers::phone(rest, before).map(|len| (Kind::Phone, len)))
}

/// A long run of base64, with `/` as some writers of JSON escape it. Looked for once for each run.
fn media(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    if before.is_some_and(part) {
        return None;
    }
    let mut len = 0;
    while let Some(byte) = rest.get(len) {
        len += match byte {
            byte if part(*byte) => 1,
            _ if rest.get(len..len + 2) == Some(b"\\/") => 2,
            _ => break,
        };
    }
    (len >= MEDIA).then_some(len)
}

fn run(bytes: &[u8], part: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .take(ADDRESS_PART + 1)
        .take_while(|byte| part(**byte))
        .count()
}

fn email(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte) || byte >= 0x80;
    let domain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte) || byte >= 0x80;
    let begins = rest
        .first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80);
    if !begins || before.is_some_and(|byte| byte >= 0x80) {
        return None;
    }
    let name = run(rest, local);
    if name == 0 || rest.get(name) != Some(&b'@') {
        return None;
    }
    let host = rest.get(name + 1..)?;
    let host = host.get(..run(host, domain))?;
    // What ends a sentence does not belong to the address.
    let end = host
        .iter()
        .rposition(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)?;
    let host = host.get(..=end)?;
    host.contains(&b'.').then_some(name + 1 + host.len())
}

#[cfg(test)]
mod tests;
