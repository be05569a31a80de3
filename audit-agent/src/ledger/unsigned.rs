//! The bytes of a record that are signed, and the line that they become.
//!
//! In: a record. Out: its canonical form (RFC 8785) without the signature, and the line with it. Never: another order than by
//! name, a space, a number that is not whole: that canonical form is what the plain encoder writes once members are sorted.

use super::chain::SIGNING_CONTEXT;
use crate::limits;
use crate::record::Body;
use serde::Serialize;
use serde_json::ser::Formatter;
use serde_json::{Map, Serializer, Value};
use std::io::{self, Write};

/// Name of the member that holds the signature.
pub const SIGNATURE: &str = "signature";

/// The same as it sorts among members.
const SIGNATURE_QUOTED: &[u8] = b"\"signature\"";

/// What parts the members of a record while they are sorted; JSON text holds no such byte (RFC 8259 section 7).
const PART: u8 = 0;

/// The members that give a record its place.
#[derive(Debug, Serialize)]
pub struct Envelope<'a> {
    pub epoch: u64,
    pub key_id: String,
    pub log_id: &'a str,
    pub prev: String,
    pub record_id: String,
    pub schema: &'static str,
    pub seq: u64,
    pub time: String,
}

/// The bytes of a record without its signature, and where that belongs in them. Its memory serves one record after another.
#[derive(Debug, Default)]
pub struct Unsigned {
    /// [`SIGNING_CONTEXT`] and the record.
    message: Vec<u8>,
    /// Before the first member whose name is greater, which every record has: its time.
    at: usize,
    /// The body and the envelope, in parts.
    parts: [Vec<u8>; 2],
}

impl Unsigned {
    /// Becomes a record whose members are at hand.
    pub fn set(&mut self, record: &Map<String, Value>) {
        let [body, _] = &mut self.parts;
        part(record, body);
        self.join(false);
    }

    /// Becomes what a record says with the members that give it its place. What is inside of the body's members has to be in order
    /// already: the fields of the structures in `record` are.
    pub fn set_body(&mut self, body: &Body, envelope: &Envelope<'_>) {
        let [parted_body, parted_envelope] = &mut self.parts;
        part(body, parted_body);
        part(envelope, parted_envelope);
        self.join(true);
    }

    /// What is signed.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The record.
    pub fn bytes(&self) -> &[u8] {
        self.message.get(SIGNING_CONTEXT.len()..).unwrap_or_default()
    }

    /// Puts the members together in their order; where there is an envelope, the body's first member is its type.
    fn join(&mut self, has_envelope: bool) {
        let [body, envelope] = &self.parts;
        let mut body = members(body);
        let mut few = vec![SIGNATURE_QUOTED];
        if has_envelope {
            few.extend(body.next().into_iter().chain(members(envelope)));
        }
        few.sort_unstable();
        let Some(at) = merge(&mut self.message, body.clone(), &few) else {
            let mut all: Vec<&[u8]> = body.chain(few).collect();
            all.sort_unstable();
            self.at = merge(&mut self.message, all.into_iter(), &[]).unwrap_or_default();
            return;
        };
        self.at = at;
    }

    /// The line with `signature`, which is base64.
    pub fn line(&self, signature: &str) -> Vec<u8> {
        let (before, behind) = self.around();
        [before, member(signature).as_bytes(), behind].concat()
    }

    fn around(&self) -> (&[u8], &[u8]) {
        self.bytes().split_at_checked(self.at).unwrap_or_default()
    }
}

/// Writes the message of a record that has the members of both, `few` being in order; gives the place of the signature in the
/// record. None when `members` are not in order.
///
/// Members that begin with their names in quotes sort by their names: a quote is less than what names are made of.
fn merge<'a>(
    message: &mut Vec<u8>,
    members: impl Iterator<Item = &'a [u8]>,
    few: &[&'a [u8]],
) -> Option<usize> {
    emptied(message);
    message.extend_from_slice(SIGNING_CONTEXT);
    message.push(b'{');
    let mut at = None;
    let mut write = |member: &[u8]| match member == SIGNATURE_QUOTED {
        true => at = Some(message.len() - SIGNING_CONTEXT.len()),
        false => {
            message.extend_from_slice(member);
            message.push(b',');
        }
    };
    let (mut few, mut last) = (few.iter().peekable(), &b""[..]);
    for member in members {
        if member < last {
            return None;
        }
        while let Some(before) = few.next_if(|before| **before < member) {
            write(before);
        }
        write(member);
        last = member;
    }
    few.for_each(|member| write(member));
    if message.last() == Some(&b',') {
        message.pop();
    }
    let end = message.len() - SIGNING_CONTEXT.len();
    message.push(b'}');
    Some(at.unwrap_or(end).min(end))
}

/// What one record over the cap took is not kept for all others.
fn emptied(bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(limits::RECORD_BYTES);
}

fn member(signature: &str) -> String {
    format!("\"{SIGNATURE}\":\"{signature}\",")
}

/// Writes an object with [`PART`] in the place of the commas between its members.
fn part(object: &impl Serialize, bytes: &mut Vec<u8>) {
    emptied(bytes);
    let mut serializer = Serializer::with_formatter(bytes, Parted::default());
    // A vector takes everything, and keys are strings.
    let _ = object.serialize(&mut serializer);
}

fn members(parted: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let inside = parted.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}"));
    let mut rest = inside.filter(|inside| !inside.is_empty());
    std::iter::from_fn(move || {
        let bytes = rest?;
        let split = memchr::memchr(PART, bytes).and_then(|at| bytes.split_at_checked(at));
        let (member, behind) = split.map_or((bytes, None), |(member, behind)| (member, behind.get(1..)));
        rest = behind;
        Some(member)
    })
}

/// The plain encoder, but for [`PART`].
#[derive(Default)]
struct Parted {
    depth: usize,
}

impl Formatter for Parted {
    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        match (first, self.depth) {
            (true, _) => Ok(()),
            (false, 1) => writer.write_all(&[PART]),
            (false, _) => writer.write_all(b","),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::canonical::Canonical;
    use crate::record::Gap;
    use crate::record::inference::Inference;
    use proptest::prelude::*;

    fn of(record: &Map<String, Value>) -> Unsigned {
        let mut unsigned = Unsigned::default();
        unsigned.set(record);
        unsigned
    }

    fn object() -> impl Strategy<Value = Map<String, Value>> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Value::from),
            (0u64..1 << 53).prop_map(Value::from),
            Just(Value::Null),
        ];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z_]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-z_0-9]{1,5}", value, 0..8).prop_map(|map| map.into_iter().collect())
    }

    #[test]
    fn an_inference_has_its_members_in_order_so_that_they_are_not_sorted() {
        let record = Inference::default();
        let sorted = serde_json::to_value(&record).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), sorted.to_string());
    }

    #[test]
    fn a_body_out_of_order_is_put_into_it() {
        let gap = Gap {
            place: "sink".into(),
            ..Gap::default()
        };
        for body in [Body::Gap(gap), Body::Inference(Box::default())] {
            let envelope = Envelope {
                epoch: 1,
                key_id: "k".into(),
                log_id: "l",
                prev: "p".into(),
                record_id: "r".into(),
                schema: "s",
                seq: 7,
                time: "t".into(),
            };
            let mut unsigned = Unsigned::default();
            unsigned.set_body(&body, &envelope);
            let record: Map<String, Value> = serde_json::from_slice(unsigned.bytes()).unwrap();
            assert_eq!(
                unsigned.bytes(),
                serde_json_canonicalizer::to_vec(&record).unwrap()
            );
            assert_eq!(
                (record["seq"].clone(), record["epoch"].clone()),
                (7.into(), 1.into())
            );
            assert_eq!(unsigned.line("AAAA"), of(&record).line("AAAA"));
        }
    }

    proptest! {
        /// `serde_json_canonicalizer` is nobody's here.
        #[test]
        fn is_what_another_implementation_of_rfc_8785_writes(record in object()) {
            let unsigned = of(&record);
            prop_assert_eq!(unsigned.bytes(), serde_json_canonicalizer::to_vec(&record).unwrap());
        }

        #[test]
        fn a_line_is_the_record_with_its_signature(record in object()) {
            let mut record = record;
            record.insert("time".into(), "now".into());
            record.remove(SIGNATURE);
            let unsigned = of(&record);
            let line = unsigned.line("AAAA");
            record.insert(SIGNATURE.into(), "AAAA".into());
            prop_assert_eq!(&line, &serde_json_canonicalizer::to_vec(&record).unwrap());
            let canonical = Canonical::read(&line).unwrap();
            prop_assert_eq!(canonical.message(SIGNATURE).unwrap(), unsigned.message());
        }
    }
}
