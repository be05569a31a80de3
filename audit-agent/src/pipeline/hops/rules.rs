//! Which of several open calls caused another.
//!
//! In: what the calls say of themselves. Out: the rule that decided, and who is left. Never: a decision by order or chance.
//!
//! Each rule keeps those that fit; one that fits nobody says nothing, since a server between may have changed what it looks
//! at. The first rule that leaves one alone decides.

use super::Begun;
use memchr::{memmem, memrchr_iter};

/// Bytes of a prompt's last text that are looked for in another prompt; shorter ones are in many.
const NEEDLE_MIN: usize = 16;
const NEEDLE_MAX: usize = 256;
/// How far from the end of a prompt its last text begins at most: every call pays for the search.
const NEEDLE_WITHIN: usize = 8 * 1024;
/// Where it is looked for: the end of a prompt, which is what was said last.
const HAYSTACK: usize = 64 * 1024;

/// What a call says of itself.
#[derive(Clone, Debug, Default)]
pub struct Clues {
    pub trace_id: Option<String>,
    pub request_id: Option<String>,
    pub prompt_hash: Option<String>,
    pub needle: Option<Vec<u8>>,
}

impl Clues {
    pub fn of_head(begun: &Begun) -> Self {
        Self {
            trace_id: begun.traceparent.as_deref().and_then(trace_id),
            request_id: begun.request_id.clone(),
            ..Self::default()
        }
    }
}

/// `version "-" trace-id "-" parent-id "-" flags` (W3C Trace Context section 3.2): the trace id, which is not all zero.
fn trace_id(traceparent: &str) -> Option<String> {
    let id = traceparent.split('-').nth(1)?;
    let valid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (valid && id.bytes().any(|byte| byte != b'0')).then(|| id.to_ascii_lowercase())
}

/// The last text in the canonical form of a prompt or of messages, as it is written there.
pub fn needle(canonical: &[u8]) -> Option<Vec<u8>> {
    let tail = canonical.get(canonical.len().saturating_sub(NEEDLE_WITHIN)..)?;
    // Quotes inside of a text have a backslash before them, so these are members. They sort before `role` and `type`.
    let behind = |colon: usize| {
        let (name, value) = tail.split_at_checked(colon)?;
        let named = name.ends_with(b"\"content\"") || name.ends_with(b"\"text\"");
        value.strip_prefix(b":\"").filter(|_| named)
    };
    let last = memrchr_iter(b':', tail).find_map(behind);
    let text = last.or_else(|| canonical.strip_prefix(b"\""))?;
    let text = text.get(..NEEDLE_MAX.min(text.len()))?;
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    let text = text.get(..end.unwrap_or(text.len()))?;
    (text.len() >= NEEDLE_MIN).then(|| text.to_vec())
}

fn contains(prompt: &[u8], needle: &[u8]) -> bool {
    let tail = prompt.get(prompt.len().saturating_sub(HAYSTACK)..);
    tail.is_some_and(|tail| memmem::find(tail, needle).is_some())
}

fn same(a: &Option<String>, b: &Option<String>) -> bool {
    a.is_some() && a == b
}

/// The name of the rule that decided and the candidates that are left: one, none, or several that fit equally.
pub fn choose(of: &Clues, prompt: Option<&[u8]>, candidates: &[&Clues]) -> (&'static str, Vec<usize>) {
    type Rule<'a> = (&'static str, &'a dyn Fn(&Clues) -> bool);
    let rules: [Rule<'_>; 4] = [
        ("traceparent", &|other| same(&of.trace_id, &other.trace_id)),
        ("request_id", &|other| same(&of.request_id, &other.request_id)),
        ("prompt_hash", &|other| same(&of.prompt_hash, &other.prompt_hash)),
        ("prompt_text", &|other| match (prompt, &other.needle) {
            (Some(prompt), Some(needle)) => contains(prompt, needle),
            _ => false,
        }),
    ];
    let mut left: Vec<(usize, &Clues)> = candidates.iter().copied().enumerate().collect();
    let indices = |left: &[(usize, &Clues)]| left.iter().map(|(index, _)| *index).collect();
    for (name, fits) in rules {
        let fitting: Vec<_> = left.iter().copied().filter(|(_, other)| fits(other)).collect();
        match fitting.len() {
            0 => {}
            1 => return (name, indices(&fitting)),
            _ => left = fitting,
        }
    }
    match left.len() {
        0 => ("none", Vec::new()),
        1 => ("process_time", indices(&left)),
        _ => ("ambiguous", indices(&left)),
    }
}
