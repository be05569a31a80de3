//! Records that are over the cap of a line.
//!
//! In: a record. Out: as much of it as the cap has room for, whatever was on the wire; it says that there was more. Never: a cut in
//! what gives a record its place.

use super::unsigned::Envelope;
use crate::limits;
use crate::record::Body;
use serde_json::{Map, Value};

/// Bytes of a record that its place in the log takes, at most.
const ENVELOPE_BYTES: usize = 4 * 1024;
/// What strings are cut to, in bytes as they are written, until the record fits; a hash has fewer than the last.
const STRING_BYTES: [usize; 3] = [1024, 256, 128];

/// A record that is over its cap.
pub fn shrunk(body: &Body, envelope: &Envelope<'_>) -> Map<String, Value> {
    // Both are structs with string keys: they always become objects.
    let members = |value| match value {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    let mut record = members(serde_json::to_value(body));
    shrink(&mut record);
    for most in STRING_BYTES {
        let len = serde_json::to_vec(&record).map_or(0, |text| text.len());
        if len <= limits::RECORD_BYTES - ENVELOPE_BYTES {
            break;
        }
        record.values_mut().for_each(|value| cut_strings(value, most));
    }
    record.extend(members(serde_json::to_value(envelope)));
    record
}

fn cut_strings(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => {
            let mut written = 0;
            let fits = |(_, char): &(usize, char)| {
                written += written_len(*char);
                written <= most
            };
            let end = text.char_indices().take_while(fits).last();
            text.truncate(end.map_or(0, |(at, char)| at + char.len_utf8()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| cut_strings(value, most)),
        Value::Object(members) => members.values_mut().for_each(|value| cut_strings(value, most)),
        _ => {}
    }
}

/// Bytes of a character in canonical JSON (RFC 8785 section 3.2.2.2).
fn written_len(char: char) -> usize {
    match char {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        _ => char.len_utf8(),
    }
}

/// Takes what is longest and matters least out of a record that is over its cap, and says so.
fn shrink(record: &mut Map<String, Value>) {
    for (name, empty) in [
        ("effective_params", Value::Object(Map::new())),
        ("tool_calls", Value::Array(Vec::new())),
        ("params", Value::Object(Map::new())),
        ("finish_reasons_raw", Value::Array(Vec::new())),
        ("finish_reasons", Value::Array(Vec::new())),
        ("model_files", Value::Array(Vec::new())),
        ("attachments", Value::Array(Vec::new())),
    ] {
        if record.contains_key(name) {
            record.insert(name.into(), empty);
        }
    }
    for side in ["client", "server"] {
        if let Some(Value::Object(process)) = record.get_mut(side).and_then(|side| side.get_mut("process")) {
            process.insert("argv".into(), Value::Array(Vec::new()));
        }
    }
    let notes = record
        .get_mut("capture")
        .and_then(|capture| capture.get_mut("notes"));
    if let Some(notes) = notes {
        *notes = Value::from(vec!["record_over_cap"]);
    }
    shrink_models(record);
}

/// Bytes of an inventory's models when the record of all of them is too long.
const MODELS_BYTES: usize = 32 * 1024;

/// The first models of an inventory, and that there were more.
fn shrink_models(record: &mut Map<String, Value>) {
    let Some(Value::Array(models)) = record.get_mut("models") else {
        return;
    };
    let mut room = MODELS_BYTES;
    models.retain(|model| {
        let len = model.to_string().len();
        let fits = len <= room;
        room = if fits { room - len } else { 0 };
        fits
    });
    record.insert("truncated".into(), Value::from(true));
}
