//! Halves of a character in two events of a stream: `"\ud83d"` and then `"\ude00"` are one emoji.
//!
//! Servers that cut a text by UTF-16 units write such events, and neither is Unicode by itself. In: events' JSON in which
//! such halves are marked, and pieces of text. Out: text in which two halves are one character, and a half that stays alone is
//! U+FFFD. Never: a mark outside of one event; a character of the wire taken for a mark.

use crate::call::Call;
use serde_json::Value;
use std::collections::BTreeMap;

/// A half stands in the JSON of one event as the character of private use that is so far above it. An event that has such a
/// character itself has no marks.
const MARKS: u32 = 0x10_0000;

/// Members that are pieces of what a model writes. In others a half is not looked for.
const MEMBERS: &[&str] = &[
    "arguments",
    "content",
    "delta",
    "partial_json",
    "reasoning",
    "reasoning_content",
    "refusal",
    "response",
    "text",
    "text_output",
    "thinking",
    "transcript",
];

/// The mark of a UTF-16 unit that is half of a pair.
pub fn mark(unit: u32) -> char {
    char::from_u32(MARKS + unit).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn unit(character: char) -> Option<u32> {
    (u32::from(character).checked_sub(MARKS)).filter(|unit| (0xd800..=0xdfff).contains(unit))
}

/// Whether a string of `value` has a character that could be taken for a mark.
pub fn clashes(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().any(|character| unit(character).is_some()),
        Value::Array(list) => list.iter().any(clashes),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.chars().any(|character| unit(character).is_some()) || clashes(value)),
        _ => false,
    }
}

/// Leaves marks only where a model's text is.
pub fn settle(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text),
        Value::Array(list) => list.iter_mut().for_each(settle),
        Value::Object(members) => {
            let settled = std::mem::take(members).into_iter().map(|(name, mut value)| {
                if !(value.is_string() && MEMBERS.contains(&name.as_str())) {
                    settle(&mut value);
                }
                (plain(&name), value)
            });
            *members = settled.collect();
        }
        _ => {}
    }
}

/// Takes marks out of what a call says besides its answer.
pub fn settle_call(call: &mut Call) {
    if let Some(message) = call.error.as_mut().and_then(|error| error.message.as_mut()) {
        *message = plain(message);
    }
}

/// Halves that stay alone.
fn plain(text: &str) -> String {
    let replaced = |character| match unit(character) {
        Some(_) => char::REPLACEMENT_CHARACTER,
        None => character,
    };
    text.chars().map(replaced).collect()
}

/// A text that grows by pieces; of a tool call its place among those of the choice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Part {
    Text,
    Reasoning,
    Arguments(usize),
}

/// First halves whose second may come with the next piece.
#[derive(Debug, Default)]
pub struct Halves {
    /// The pieces that come now are of an event with marks.
    pub marked: bool,
    waiting: BTreeMap<(u64, Part), u32>,
}

impl Halves {
    /// Appends `piece` to a text of choice `index`.
    pub fn append(&mut self, index: u64, part: Part, text: &mut String, piece: &str) {
        let key = (index, part);
        if !self.marked && !self.waiting.contains_key(&key) {
            return text.push_str(piece);
        }
        for character in piece.chars() {
            let unit = unit(character).filter(|_| self.marked);
            let first = self.waiting.remove(&key);
            if let (Some(first), Some(second @ 0xdc00..)) = (first, unit) {
                text.push(pair(first, second));
                continue;
            }
            text.extend(first.map(|_| char::REPLACEMENT_CHARACTER));
            match unit {
                Some(first @ ..0xdc00) => drop(self.waiting.insert(key, first)),
                Some(_) => text.push(char::REPLACEMENT_CHARACTER),
                None => text.push(character),
            }
        }
    }

    /// A text that comes in one piece.
    pub fn whole(&self, piece: &str) -> String {
        let mut alone = Self {
            marked: self.marked,
            ..Self::default()
        };
        let mut text = String::with_capacity(piece.len());
        alone.append(0, Part::Text, &mut text, piece);
        text.extend(alone.waiting.values().map(|_| char::REPLACEMENT_CHARACTER));
        text
    }

    /// The pieces of this text so far do not count.
    pub fn forget(&mut self, index: u64, part: Part) {
        self.waiting.remove(&(index, part));
    }

    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Texts that end with a first half.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, Part)> {
        self.waiting.keys().copied()
    }
}

fn pair(first: u32, second: u32) -> char {
    let above = ((first & 0x3ff) << 10) | (second & 0x3ff);
    char::from_u32(0x1_0000 + above).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;
    use proptest::prelude::*;

    /// What events of one member say together.
    fn joined(events: &[&str]) -> (String, usize) {
        let (mut halves, mut text) = (Halves::default(), String::new());
        for event in events {
            let (value, marked) = json::parse_marked(event.as_bytes()).unwrap();
            halves.marked = marked;
            let piece = json::text(&value, "content").unwrap();
            halves.append(0, Part::Text, &mut text, piece);
        }
        (text, halves.waiting().count())
    }

    #[test]
    fn two_halves_are_one_character() {
        let events = [r#"{"content":"a\ud83d"}"#, r#"{"content":"\ude00b"}"#];
        assert_eq!(joined(&events), ("a\u{1f600}b".into(), 0));
        let in_one = [r#"{"content":"\ud83d\ude00"}"#];
        assert_eq!(joined(&in_one), ("\u{1f600}".into(), 0));
    }

    #[test]
    fn a_half_that_stays_alone_is_replaced() {
        let cases: [(&[&str], &str, usize); 5] = [
            (&[r#"{"content":"\ud83d"}"#, r#"{"content":"b"}"#], "\u{fffd}b", 0),
            (&[r#"{"content":"\ude00"}"#], "\u{fffd}", 0),
            (&[r#"{"content":"\ud83dx\ude00"}"#], "\u{fffd}x\u{fffd}", 0),
            (
                &[r#"{"content":"\ud83d"}"#, r#"{"content":"\ud83d\ude00"}"#],
                "\u{fffd}\u{1f600}",
                0,
            ),
            (&[r#"{"content":"a\ud83d"}"#], "a", 1),
        ];
        for (events, text, waiting) in cases {
            assert_eq!(joined(events), (text.into(), waiting), "{events:?}");
        }
    }

    #[test]
    fn an_empty_piece_between_them_parts_no_halves() {
        let events = [
            r#"{"content":"\ud83d"}"#,
            r#"{"content":""}"#,
            r#"{"content":"\ude00"}"#,
        ];
        assert_eq!(joined(&events), ("\u{1f600}".into(), 0));
    }

    #[test]
    fn a_character_of_the_wire_is_never_a_mark() {
        let mine = mark(0xde00);
        let plain = format!(r#"{{"content":"{mine}"}}"#);
        assert_eq!(
            joined(&[r#"{"content":"\ud83d"}"#, &plain]),
            (format!("\u{fffd}{mine}"), 0)
        );
        let with_half = format!(r#"{{"content":"{mine}\ud83d"}}"#);
        assert_eq!(joined(&[&with_half]).0, format!("{mine}\u{fffd}"));
        // The same character as an escape.
        let escaped = r#"{"content":"\udbf7\ude00\ud83d"}"#;
        assert_eq!(joined(&[escaped]).0, format!("{mine}\u{fffd}"));
    }

    #[test]
    fn marks_stay_out_of_members_that_are_no_text() {
        let event =
            br#"{"id":"\ud83d","k\ud83d":1,"content":"\ud83d","list":[{"text":"\ude00","name":"\ude00"}]}"#;
        let (value, marked) = json::parse_marked(event).unwrap();
        assert!(marked);
        assert_eq!(
            (&value["id"], &value["k\u{fffd}"]),
            (&"\u{fffd}".into(), &1.into())
        );
        assert_eq!(value["list"][0]["name"], "\u{fffd}");
        assert_eq!(value["content"], mark(0xd83d).to_string());
    }

    proptest! {
        /// However the UTF-16 units of a text are spread over events, the text is what they say together.
        #[test]
        fn cutting_a_text_between_its_units_gives_the_text(
            characters in prop::collection::vec(prop::sample::select(vec!['a', 'ä', '€', '\u{1f600}', '\u{10d83d}', '\u{1f1e9}']), 0..12),
            cuts in prop::collection::vec(1usize..4, 1..12),
        ) {
            let text: String = characters.iter().filter(|character| unit(**character).is_none()).collect();
            let units: Vec<u16> = text.encode_utf16().collect();
            let (mut events, mut rest, mut cuts) = (Vec::new(), units.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                let escapes: String = now.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                events.push(format!(r#"{{"content":"{escapes}"}}"#));
                rest = later;
            }
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            prop_assert_eq!(joined(&events), (text, 0));
        }
    }
}
