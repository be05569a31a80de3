//! What is announced in the log before it is done: accesses, erasures, removals.
//!
//! In: requests, the limits of retention. Out: records, and behind them the deeds. Never: a deed whose record is not durable;
//! one that was interrupted is found and done again.

use super::{Open, Ready};
use crate::content::request::{Asked, Request};
use crate::record::content::{Access, Erasure};
use crate::record::{Body, Retention};
use std::collections::BTreeMap;

/// A deed.
#[derive(Debug)]
pub enum After {
    /// Tell the reader that its access is recorded.
    Access {
        request: String,
    },
    Erase {
        request: String,
        tag: String,
        key_ids: Vec<String>,
    },
    Remove {
        name: String,
        bytes: u64,
    },
}

impl Open {
    /// Answers requests and looks for what is over its time.
    pub(super) fn commands(&mut self, now: u64, ready: &mut Vec<Ready>) {
        if !self.after.is_empty() {
            // What was announced waits for the log still.
            return;
        }
        for asked in self.requests.pending() {
            let id = asked.id.clone();
            match self.command(asked) {
                Some((body, deed)) => {
                    self.after.push(deed);
                    ready.push((Box::new(body), now));
                }
                None => {
                    tracing::warn!(id, "a request for content was refused");
                    note(self.requests.refuse(&id), "refuse a request");
                }
            }
        }
        self.retain(now, ready);
    }

    fn command(&mut self, asked: Asked) -> Option<(Body, After)> {
        let uid = asked.uid.into();
        match asked.request? {
            Request::Access {
                content_seq,
                login_uid,
                reader,
            } => {
                let access = Access {
                    content_seq,
                    login_uid: login_uid.map(u64::from),
                    reader: crate::limits::cut(&reader),
                    uid,
                };
                Some((Body::Access(access), After::Access { request: asked.id }))
            }
            // Whoever is bound to keep may not forget: it waits until the hold is over.
            Request::Erasure { .. } if self.settings.hold => {
                tracing::warn!("nobody is erased while `legal_hold` is set");
                None
            }
            Request::Erasure { login_uid, user: tag } => {
                let user = self.users.known(&tag)?;
                let key_ids: Vec<String> = user.key_ids().map(str::to_owned).collect();
                let erasure = Erasure {
                    key_ids: key_ids.clone(),
                    login_uid: login_uid.map(u64::from),
                    salt_id: user.salt_id(),
                    uid,
                    user_id: user.logged_as(&tag),
                };
                Some((
                    Body::Erasure(erasure),
                    After::Erase {
                        request: asked.id,
                        tag,
                        key_ids,
                    },
                ))
            }
        }
    }

    fn retain(&mut self, now: u64, ready: &mut Vec<Ready>) {
        const EVERY_NS: u64 = 10_000_000_000;
        if self.settings.hold || now.saturating_sub(self.retained_ns) < EVERY_NS {
            return;
        }
        self.retained_ns = now;
        let mut by_reason: BTreeMap<&str, Retention> = BTreeMap::new();
        // A record has room for so many names; the rest follows next time.
        for (segment, reason) in self.segments.due(now / 1_000_000_000).into_iter().take(256) {
            let record = by_reason.entry(reason).or_default();
            record.bytes += segment.bytes;
            record.files.push(segment.name.clone());
            self.after.push(After::Remove {
                name: segment.name,
                bytes: segment.bytes,
            });
        }
        for (reason, record) in by_reason {
            let body = Retention {
                place: "content".into(),
                retired_before: None,
                reason: reason.into(),
                ..record
            };
            ready.push((Box::new(Body::Retention(body)), now));
        }
    }

    /// The records are durable: the deeds are done.
    pub(super) fn carry_out(&mut self) {
        for deed in std::mem::take(&mut self.after) {
            match deed {
                After::Access { request } => note(self.requests.done(&request), "answer a request"),
                After::Erase {
                    request,
                    tag,
                    key_ids,
                } => match self.users.erase(&tag, &key_ids) {
                    Ok(()) => note(self.requests.done(&request), "answer a request"),
                    // The request stays, and is carried out again.
                    Err(error) => tracing::error!(%error, "a user's keys could not be destroyed yet"),
                },
                After::Remove { name, bytes } => match self.segments.remove(&name) {
                    Ok(()) => self.count("content_freed_bytes", bytes),
                    Err(error) => tracing::error!(%error, name, "a segment of content could not be removed"),
                },
            }
        }
    }
}

fn note(result: std::io::Result<()>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(%error, "cannot {what}");
    }
}
