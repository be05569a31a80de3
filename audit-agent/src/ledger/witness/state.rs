//! What a witness has cosigned, kept so that it never cosigns a contradiction, whatever ends it.
//!
//! In: requests. Out: answers; the head that an answer is about is durable before the answer exists.

use super::{Refusal, SIZE_TYPE, decide, read};
use crate::ledger::disk::Disk;
use crate::ledger::http::Response;
use crate::ledger::keys::{LogKey, Verifier};
use crate::ledger::merkle::proof::Head;
use crate::ledger::note::Checkpoint;
use crate::record::hash::hex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;

/// A witness with its memory. One at a time answers: the check and the write are one step.
#[derive(Debug)]
pub struct Witness<D> {
    key: LogKey,
    logs: BTreeMap<String, Verifier>,
    disk: D,
    /// When each log's checkpoint last grew, in POSIX seconds, and whether its silence was said.
    heard: BTreeMap<String, (u64, bool)>,
}

impl<D: Disk> Witness<D> {
    /// Knows these logs; silence counts from `now`.
    pub fn new(key: LogKey, logs: Vec<Verifier>, disk: D, now: u64) -> Self {
        let heard = logs.iter().map(|log| (log.name.clone(), (now, false))).collect();
        let logs = logs.into_iter().map(|log| (log.name.clone(), log)).collect();
        Self {
            key,
            logs,
            disk,
            heard,
        }
    }

    pub fn verifier(&self) -> Verifier {
        self.key.verifier().cosigner()
    }

    /// Answers the body of an `add-checkpoint` request at `now` (POSIX seconds).
    pub fn add_checkpoint(&mut self, body: &[u8], now: u64) -> Response {
        match self.cosign(body, now) {
            Ok(Ok(line)) => Response::text(200, line),
            Ok(Err(refusal)) => refused(&refusal),
            // Without a memory nothing may be signed.
            Err(error) => {
                tracing::error!(%error, "the witness cannot keep its state; nothing is cosigned");
                Response::text(500, "the state cannot be kept\n")
            }
        }
    }

    fn cosign(&mut self, body: &[u8], now: u64) -> io::Result<Result<String, Refusal>> {
        let asked = match read(body, &self.logs) {
            Ok(asked) => asked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let last = self.last(&asked.origin)?;
        if let Err(refusal) = decide(&asked, last.as_ref()) {
            if matches!(refusal, Refusal::Fork(_) | Refusal::Proof) {
                tracing::error!(
                    origin = asked.origin,
                    ?refusal,
                    "a signed checkpoint contradicts an earlier one: the log was rewritten"
                );
            }
            return Ok(Err(refusal));
        }
        if last != Some(asked.head) {
            let checkpoint = Checkpoint {
                origin: asked.origin.clone(),
                head: asked.head,
            };
            self.disk
                .replace(&name(&asked.origin), checkpoint.text().as_bytes())?;
            self.heard.insert(asked.origin, (now, false));
        }
        let mut note = asked.note;
        note.signatures.clear();
        note.cosign(&self.key, now);
        Ok(Ok(note.signatures.iter().map(ToString::to_string).collect()))
    }

    /// The last head that was cosigned for a log.
    fn last(&self, origin: &str) -> io::Result<Option<Head>> {
        let Some(bytes) = self.disk.read(&name(origin))? else {
            return Ok(None);
        };
        let broken = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the state of {origin} cannot be read"),
            )
        };
        let text = String::from_utf8(bytes).map_err(|_| broken())?;
        let checkpoint = Checkpoint::parse(&text)
            .ok()
            .filter(|checkpoint| checkpoint.origin == origin);
        Ok(Some(checkpoint.ok_or_else(broken)?.head))
    }

    /// Logs whose checkpoint has not grown for `silence` seconds and of which that was not said yet.
    pub fn silent(&mut self, now: u64, silence: u64) -> Vec<String> {
        let mut silent = Vec::new();
        for (origin, (heard, said)) in &mut self.heard {
            if !*said && now.saturating_sub(*heard) >= silence {
                *said = true;
                silent.push(origin.clone());
            }
        }
        silent
    }
}

fn refused(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Conflict(size) | Refusal::Fork(size) => Response {
            status: refusal.status(),
            content_type: SIZE_TYPE.into(),
            body: format!("{size}\n").into_bytes(),
        },
        other => Response::text(other.status(), format!("{other:?}\n")),
    }
}

/// File of a log's state: origins may hold anything.
fn name(origin: &str) -> String {
    format!("{}.checkpoint", hex(&Sha256::digest(origin)))
}
