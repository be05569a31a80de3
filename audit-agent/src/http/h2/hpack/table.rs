//! The tables of HPACK (RFC 7541 section 2.3): fields that an index names.
//!
//! In: insertions and changes of size. Out: fields by index. Never: a field that is not known for certain; a table larger
//! than [`limits::HPACK_TABLE_BYTES`].

use crate::limits;
use std::collections::VecDeque;

/// What a field costs besides its name and value (section 4.1).
const ENTRY_OVERHEAD: usize = 32;
/// The size that a table has before anything else is agreed (RFC 9113 section 6.5.2).
const DEFAULT_SIZE: usize = 4096;

/// What an index names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found<'a> {
    Field {
        name: &'a [u8],
        value: &'a [u8],
    },
    /// Inserted since we look, by a reference to a name that was there before.
    Nameless {
        value: &'a [u8],
    },
    /// It was there before we looked.
    Before,
    /// No peer may use this index.
    Invalid,
}

#[derive(Debug)]
struct Entry {
    /// None when only an index was seen that was older than our sight.
    name: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_ref().map_or(0, Vec::len) + self.value.len() + ENTRY_OVERHEAD
    }
}

/// The dynamic table of one direction, or the newest part of it.
#[derive(Debug)]
pub struct Table {
    /// Newest first, as indices count.
    entries: VecDeque<Entry>,
    size: usize,
    /// What the sender last said, or the cap where that was not seen.
    max_size: usize,
    /// Every entry of the sender's table is known.
    whole: bool,
}

impl Table {
    /// `joined`: the sender may have put fields into it before.
    pub fn new(joined: bool) -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            max_size: if joined {
                limits::HPACK_TABLE_BYTES
            } else {
                DEFAULT_SIZE
            },
            whole: !joined,
        }
    }

    /// Insertions were missed, so nobody knows any more which index is which.
    pub fn forget(&mut self) {
        *self = Self::new(true);
    }

    /// Bytes that are kept.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn get(&self, index: usize) -> Found<'_> {
        if let Some((name, value)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            return Found::Field {
                name: name.as_bytes(),
                value: value.as_bytes(),
            };
        }
        let entry = index
            .checked_sub(STATIC.len() + 1)
            .and_then(|at| self.entries.get(at));
        match entry {
            Some(Entry {
                name: Some(name),
                value,
            }) => Found::Field { name, value },
            Some(Entry { name: None, value }) => Found::Nameless { value },
            None if index == 0 || self.whole => Found::Invalid,
            None => Found::Before,
        }
    }

    pub fn insert(&mut self, name: Option<Vec<u8>>, value: Vec<u8>) {
        let entry = Entry { name, value };
        self.size += entry.size();
        self.entries.push_front(entry);
        self.evict();
    }

    /// The sender's table has this size from now on.
    pub fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict();
        // A table without room has no field that we could not know.
        self.whole |= max_size < ENTRY_OVERHEAD;
    }

    fn evict(&mut self) {
        let room = self.max_size.min(limits::HPACK_TABLE_BYTES);
        while self.size > room {
            let Some(entry) = self.entries.pop_back() else {
                break;
            };
            self.size -= entry.size();
            // The sender has more room than we give it: what goes here is still there.
            self.whole &= self.max_size <= room;
        }
    }
}

/// RFC 7541 appendix A.
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];
