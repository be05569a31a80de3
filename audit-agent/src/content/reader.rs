//! Stored content, read back by the holder of an identity.
//!
//! In: the agent's directory (or a copy of its `content/`), what a record says of its content, identities. Out: the object, checked
//! against its address. Never: an object that is not the one of the record.

use super::age::{self, AgeError, Identity};
use super::dir::Dir;
use super::{tar, user};
use crate::limits;
use serde_json::Value;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Longest wrapped key.
const KEY_BYTES: u64 = 64 * 1024;

#[derive(Debug, Error)]
pub enum ReadError {
    #[error("the record says that nothing was stored: {0}")]
    Nothing(String),
    #[error("the key {0} is gone")]
    NoKey(String),
    #[error("the segment {0} is gone")]
    NoSegment(String),
    #[error("cannot read {what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("cannot decrypt {what}: {source}")]
    Age { what: String, source: AgeError },
    #[error("{0} does not hold what the record names; it was changed")]
    Other(String),
}

/// The object that `content`, the member of an inference record, names.
pub fn read(dir: &Path, content: &Value, identities: &[Identity]) -> Result<Value, ReadError> {
    let text = |name: &str| content.get(name).and_then(Value::as_str).unwrap_or_default();
    let (file, member, key_id, address) = (text("file"), text("member"), text("key_id"), text("address"));
    if text("state") != "stored" {
        return Err(ReadError::Nothing(match text("state") {
            "" => "no content is kept in this mode".into(),
            state => state.into(),
        }));
    }
    let place = dir.join("content");
    let key = open(&place.join("keys"), &format!("{key_id}.age"))
        .and_then(|(dir, name)| Ok(dir.read(&name, KEY_BYTES)?.bytes));
    let key = key.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ReadError::NoKey(key_id.into()),
        _ => ReadError::Io {
            what: format!("content/keys/{key_id}.age"),
            source,
        },
    })?;
    let decrypt = |file: &[u8], identities: &[Identity], what: &str| {
        age::decrypt(file, identities).map_err(|source| ReadError::Age {
            what: what.into(),
            source,
        })
    };
    let wrapped = decrypt(&key, identities, key_id)?;
    let wrapped = std::str::from_utf8(&wrapped).map_err(|_| ReadError::Other(key_id.into()))?;
    let age = |source| ReadError::Age {
        what: key_id.into(),
        source,
    };
    let own = Identity::parse_file(wrapped).map_err(age)?;
    let address_key = user::address_key(wrapped).ok_or_else(|| ReadError::Other(key_id.into()))?;
    let segment = open(&place.join("segments"), file).and_then(|(dir, name)| dir.open_file(&name));
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::NoSegment(file.into()),
        _ => ReadError::Io {
            what: format!("content/segments/{file}"),
            source,
        },
    };
    let mut segment = io::BufReader::new(segment.map_err(io)?);
    let sealed = tar::member(&mut segment, member, limits::CONTENT_MEMBER_BYTES).map_err(io)?;
    let lines = decrypt(
        &sealed.ok_or_else(|| ReadError::Other(file.into()))?,
        &own,
        member,
    )?;
    let head = format!("{{\"address\":\"{address}\",\"content\":");
    let line = lines
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(head.as_bytes()));
    let object = line.and_then(|line| line.strip_suffix(b"}"));
    let object = object.filter(|object| user::address(address_key.as_slice(), object) == address);
    let object = object.and_then(|object| serde_json::from_slice(object).ok());
    object.ok_or_else(|| ReadError::Other(member.into()))
}

fn open(path: &Path, name: &str) -> io::Result<(Dir, String)> {
    Ok((Dir::existing(path)?, name.to_owned()))
}
