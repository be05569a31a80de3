//! The content store of a run: records wait in it until what they name is durable.
//!
//! In: drafts and records in the order of the pipeline, randomness, requests of operators. Out: the same records in the same
//! order, with the place of their content and the user's own pseudonyms; files under `content/`. Never: plaintext in a
//! file; a private key kept; a record that names content which is not durable: where storing fails the record says `lost`, is
//! signed, and the log goes on.
//!
//! One age file holds what a user said and was answered within one commit (100 ms): X25519 takes longer than all the rest.

mod commands;
mod segments;
mod settle;
mod users;

use super::Mode;
use super::age::{AgeError, Recipient};
use super::dir::Dir;
use super::draft::{Draft, Object};
use super::request::Requests;
use super::retention::Limits;
use crate::limits;
use crate::record::Body;
use commands::After;
use segments::Segments;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;
use users::Users;

pub use users::tag;

#[derive(Debug, Error)]
pub enum StoreError {
    #[error("cannot use {path}: {source}; prompts and completions are not stored until it can be written")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Age(#[from] AgeError),
}

/// What an operator chose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub mode: Mode,
    /// A salt for each user, also where no content is stored.
    pub user_salts: bool,
    pub recipients: Vec<Recipient>,
    /// Of one prompt or completion.
    pub most_bytes: usize,
    pub keep: Limits,
    /// Nothing is deleted: no segment goes, nobody is erased.
    pub hold: bool,
}

impl Settings {
    /// Whether there is anything to store or to salt.
    pub fn is_needed(&self) -> bool {
        self.mode.stores() || self.user_salts
    }
}

/// A record, and the time that it is about.
pub type Ready = (Box<Body>, u64);

/// Takes records and gives them back when what they name is durable. Without content they pass through.
#[derive(Debug, Default)]
pub struct Store {
    open: Option<Box<Open>>,
    ready: Vec<Ready>,
}

#[derive(Debug)]
struct Open {
    settings: Settings,
    random: File,
    users: Users,
    segments: Segments,
    requests: Requests,
    draft: Option<Box<Draft>>,
    queue: Vec<Held>,
    held_bytes: usize,
    counters: BTreeMap<String, u64>,
    lost: Option<Lost>,
    /// To be done when the records that say so are durable.
    after: Vec<After>,
    retained_ns: u64,
    failed: bool,
}

/// A record that waits.
#[derive(Debug)]
struct Held {
    body: Box<Body>,
    unix_ns: u64,
    object: Option<Object>,
}

/// What could not be stored since the last word on it.
#[derive(Debug)]
struct Lost {
    objects: u64,
    bytes: u64,
    since_ns: u64,
}

impl Store {
    /// Opens the directory `content`. Without anything to store or to salt, none is made.
    pub fn open(content: &Path, settings: Settings) -> Result<Self, StoreError> {
        if !settings.is_needed() {
            return Ok(Self::default());
        }
        let at = |source| StoreError::Io {
            path: content.into(),
            source,
        };
        let content = Dir::open(content, 0o750).map_err(at)?;
        let open = Open {
            random: File::open("/dev/urandom").map_err(at)?,
            users: Users::open(&content).map_err(at)?,
            segments: Segments::open(&content, settings.keep).map_err(at)?,
            requests: Requests::open(&content).map_err(at)?,
            settings,
            draft: None,
            queue: Vec::new(),
            held_bytes: 0,
            counters: BTreeMap::new(),
            lost: None,
            after: Vec::new(),
            retained_ns: 0,
            failed: false,
        };
        Ok(Self {
            open: Some(Box::new(open)),
            ready: Vec::new(),
        })
    }

    /// What belongs to the next record.
    pub fn content(&mut self, draft: Box<Draft>) {
        if let Some(open) = &mut self.open {
            open.draft = Some(draft);
        }
    }

    /// Takes a record; [`Store::ready`] gives it back, at once or after the next [`Store::flush`].
    pub fn record(&mut self, body: Box<Body>, unix_ns: u64) {
        let Some(open) = &mut self.open else {
            self.ready.push((body, unix_ns));
            return;
        };
        open.hold(body, unix_ns);
        if open.held_bytes >= limits::CONTENT_HELD_BYTES || open.queue.len() >= limits::CONTENT_HELD_RECORDS {
            open.settle(&mut self.ready);
        }
    }

    /// Stores what waits, and answers what operators asked. `now` is the wall clock, nanoseconds.
    pub fn flush(&mut self, now: u64) {
        let Some(open) = &mut self.open else { return };
        open.settle(&mut self.ready);
        open.commands(now, &mut self.ready);
    }

    /// Records whose content is durable, in their order.
    pub fn ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }

    /// The log has taken all of them: what they announce may be done.
    pub fn committed(&mut self) {
        if let Some(open) = &mut self.open {
            open.carry_out();
        }
    }

    /// The log refused one of them: nothing of what they announce is done now.
    pub fn refused(&mut self) {
        if let Some(open) = &mut self.open {
            open.after.clear();
        }
    }
}

impl Open {
    fn count(&mut self, name: &str, by: u64) {
        *self.counters.entry(name.to_owned()).or_default() += by;
    }

    fn hold(&mut self, mut body: Box<Body>, unix_ns: u64) {
        let draft = self.draft.take().filter(|_| matches!(*body, Body::Inference(_)));
        let object = draft.map(|draft| draft.object(self.settings.mode, self.settings.most_bytes));
        for (kind, by) in object.iter().flat_map(|object| &object.content.masked) {
            *self.counters.entry(format!("content_masked_{kind}")).or_default() += by;
        }
        self.held_bytes += object.as_ref().map_or(0, |object| object.json.len());
        let totals = match &mut *body {
            Body::Heartbeat(heartbeat) => Some(&mut heartbeat.counters),
            Body::AgentStop(stop) => Some(&mut stop.counters),
            _ => None,
        };
        if let Some(totals) = totals {
            totals.extend(self.counters.iter().map(|(name, count)| (name.clone(), *count)));
        }
        self.queue.push(Held {
            body,
            unix_ns,
            object,
        });
    }
}

#[cfg(test)]
mod tests;
