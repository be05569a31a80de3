//! Whether a line is a JSON object in canonical form (RFC 8785), and which members it has.
//!
//! In: a line without its line end. Out: [`Canonical`], whose members are read one by one where they are asked for. Never: a tree
//! of the line's values, which would cost more than the signature; a panic, whatever the line is.

use super::chain::SIGNING_CONTEXT;
use super::line::LineError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::ops::Range;

/// A line that says what it says in the one form that canonical JSON has for it.
#[derive(Debug)]
pub struct Canonical<'a> {
    line: &'a [u8],
    members: Vec<Member>,
}

/// Where a member of the line's object is in it; its name without the quotes.
#[derive(Debug)]
struct Member {
    name: Range<usize>,
    value: Range<usize>,
}

impl<'a> Canonical<'a> {
    /// Reads the line and writes it again by the rules of the form: spaces, other escapes, floats, members that are unsorted or
    /// twice there come out different.
    pub fn read(line: &'a [u8]) -> Result<Self, LineError> {
        let mut writer = Writer::new(line.len());
        let mut members = Vec::new();
        let mut json = serde_json::Deserializer::from_slice(line);
        let object = Object {
            writer: &mut writer,
            members: &mut members,
        };
        let read = json.deserialize_map(object).and_then(|()| json.end());
        read.map_err(|_| LineError::NotJson)?;
        if writer.is_canonical && writer.text == line {
            Ok(Self { line, members })
        } else {
            Err(LineError::NotCanonical)
        }
    }

    /// A member that is a string.
    pub fn text(&self, name: &'static str) -> Result<String, LineError> {
        let value = self.value(name).ok_or(LineError::Member(name))?;
        serde_json::from_slice(value).map_err(|_| LineError::Member(name))
    }

    /// A member that is a whole number from 0.
    pub fn number(&self, name: &'static str) -> Result<u64, LineError> {
        let value = self.value(name).ok_or(LineError::Member(name))?;
        serde_json::from_slice(value).map_err(|_| LineError::Member(name))
    }

    /// What is signed in a line whose signature is the member `name`: [`SIGNING_CONTEXT`] and the line without that member, which
    /// is not the last one.
    pub fn message(&self, name: &'static str) -> Result<Vec<u8>, LineError> {
        let missing = LineError::Member(name);
        let at = self.position(name).ok_or_else(|| missing.clone())?;
        let (member, next) = self
            .members
            .get(at)
            .zip(self.members.get(at + 1))
            .ok_or(missing)?;
        // Names begin behind their quotes.
        let (before, behind) = (member.name.start - 1, next.name.start - 1);
        let parts = [
            SIGNING_CONTEXT,
            self.line.get(..before).unwrap_or_default(),
            self.line.get(behind..).unwrap_or_default(),
        ];
        Ok(parts.concat())
    }

    fn position(&self, name: &str) -> Option<usize> {
        let is_it = |member: &Member| self.line.get(member.name.clone()) == Some(name.as_bytes());
        self.members.iter().position(is_it)
    }

    fn value(&self, name: &str) -> Option<&[u8]> {
        let member = self.members.get(self.position(name)?)?;
        self.line.get(member.value.clone())
    }
}

/// What was read, in canonical form.
struct Writer {
    text: Vec<u8>,
    /// False where a value has no canonical form here.
    is_canonical: bool,
}

impl Writer {
    fn new(capacity: usize) -> Self {
        Self {
            text: Vec::with_capacity(capacity),
            is_canonical: true,
        }
    }

    /// The shortest escapes that there are (RFC 8785 section 3.2.2.2), which are the encoder's own.
    fn string(&mut self, text: &str) {
        self.is_canonical &= serde_json::to_writer(&mut self.text, text).is_ok();
    }

    fn number(&mut self, number: impl fmt::Display) {
        self.is_canonical &= write!(self.text, "{number}").is_ok();
    }

    /// The members of an object; `each` hears where each of them is.
    fn members<'de, A: MapAccess<'de>>(
        &mut self,
        mut map: A,
        mut each: impl FnMut(Member),
    ) -> Result<(), A::Error> {
        let mut last: Option<Cow<'de, str>> = None;
        self.text.push(b'{');
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if let Some(last) = &last {
                self.is_canonical &= **last < *name.0;
                self.text.push(b',');
            }
            let start = self.text.len();
            self.string(&name.0);
            let end = self.text.len();
            self.text.push(b':');
            map.next_value_seed(Element(self))?;
            each(Member {
                name: start + 1..end - 1,
                value: end + 1..self.text.len(),
            });
            last = Some(name.0);
        }
        self.text.push(b'}');
        Ok(())
    }
}

/// The name of a member, which is copied only where it has escapes.
struct Name<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(text.into()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(text.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The object that a line is.
struct Object<'w> {
    writer: &'w mut Writer,
    members: &'w mut Vec<Member>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { writer, members } = self;
        writer.members(map, |member| members.push(member))
    }
}

/// Any value inside of it.
struct Element<'w>(&'w mut Writer);

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.text.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.0.text.extend_from_slice(text);
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.number(value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.number(value);
        Ok(())
    }

    /// Records have whole numbers alone.
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.0.is_canonical = false;
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.0.string(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let writer = self.0;
        writer.text.push(b'[');
        let start = writer.text.len();
        while seq.next_element_seed(Element(writer))?.is_some() {
            writer.text.push(b',');
        }
        if writer.text.len() > start {
            writer.text.pop();
        }
        writer.text.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.members(map, |_| {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x7f]{0,6}".prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::btree_map("[ -~]{0,4}", value(), 0..8).prop_map(|map| map.into_iter().collect())
    }

    /// What this is a faster form of.
    fn by_tree(line: &[u8]) -> Result<(), LineError> {
        fn has_float(value: &Value) -> bool {
            match value {
                Value::Number(number) => number.is_f64(),
                Value::Array(values) => values.iter().any(has_float),
                Value::Object(members) => members.values().any(has_float),
                _ => false,
            }
        }
        let record: Map<String, Value> = serde_json::from_slice(line).map_err(|_| LineError::NotJson)?;
        let same = serde_json::to_vec(&record).is_ok_and(|text| text == line);
        if same && !record.values().any(has_float) {
            Ok(())
        } else {
            Err(LineError::NotCanonical)
        }
    }

    #[test]
    fn other_ways_to_say_the_same_are_refused() {
        for line in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":-0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\/"}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":{"c":1,"b":1}}"#,
            r#"{"a":[1, 2]}"#,
            r#"{"a":18446744073709551616}"#,
        ] {
            let read = Canonical::read(line.as_bytes());
            assert_eq!(read.unwrap_err(), LineError::NotCanonical, "{line}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for line in [
            "",
            "1",
            "[]",
            "{",
            r#"{"a":1}{}"#,
            r#"{"a":1,}"#,
            r#"{"a":"\ud800"}"#,
            &format!("{{\"a\":{}", "[".repeat(100_000)),
        ] {
            let read = Canonical::read(line.as_bytes());
            assert_eq!(read.unwrap_err(), LineError::NotJson, "{line}");
        }
    }

    #[test]
    fn members_are_read_by_name() {
        let line = r#"{"n":7,"s":"a\"b","t":null}"#;
        let canonical = Canonical::read(line.as_bytes()).unwrap();
        assert_eq!(canonical.number("n"), Ok(7));
        assert_eq!(canonical.text("s").as_deref(), Ok("a\"b"));
        assert_eq!(canonical.text("n"), Err(LineError::Member("n")));
        assert_eq!(canonical.number("x"), Err(LineError::Member("x")));
        let message = canonical.message("s").unwrap();
        assert_eq!(message, [SIGNING_CONTEXT, br#"{"n":7,"t":null}"#].concat());
        assert_eq!(
            canonical.message("t"),
            Err(LineError::Member("t")),
            "the last one"
        );
    }

    proptest! {
        #[test]
        fn canonical_lines_are_taken_and_their_members_found(record in object()) {
            let line = serde_json::to_vec(&record).unwrap();
            let canonical = Canonical::read(&line).unwrap();
            prop_assert_eq!(canonical.members.len(), record.len());
            for (member, (name, value)) in canonical.members.iter().zip(&record) {
                let quoted = member.name.start - 1..member.name.end + 1;
                prop_assert_eq!(serde_json::from_slice::<String>(&line[quoted]).unwrap(), name.as_str());
                let found: Value = serde_json::from_slice(&line[member.value.clone()]).unwrap();
                prop_assert_eq!(&found, value);
            }
        }

        #[test]
        fn the_verdict_is_that_of_a_tree(
            record in object(),
            cut in any::<prop::sample::Index>(),
            byte in prop::sample::select(b" \"\\,:{}[]09.-eanu\x00\xff".to_vec()),
            insert: bool,
        ) {
            let mut line = serde_json::to_vec(&record).unwrap();
            let at = cut.index(line.len());
            if insert {
                line.insert(at, byte);
            } else {
                line[at] = byte;
            }
            prop_assert_eq!(Canonical::read(&line).map(drop), by_tree(&line));
        }
    }
}
