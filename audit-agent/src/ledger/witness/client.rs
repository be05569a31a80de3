//! Asks the witnesses of a policy to cosign the log's checkpoints.
//!
//! In: the log's directory, as the agent writes it. Out: the checkpoint with the cosignatures of a quorum. It reads what
//! everybody may read and needs no key; the agent never waits for it. Never: a write to the log.

use super::cosigned::is_met;
use super::{ADD_CHECKPOINT, AddCheckpoint, SIZE_TYPE};
use crate::ledger::disk::DirDisk;
use crate::ledger::http::{Response, Url, request};
use crate::ledger::keys::Verifier;
use crate::ledger::merkle::proof::{Head, consistency};
use crate::ledger::merkle::tile::Tiles;
use crate::ledger::note::{Checkpoint, Note, NoteSignature};
use crate::ledger::policy::Policy;
use crate::ledger::source::{Files, Source, hashes};
use crate::ledger::store::CHECKPOINT;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What one round came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Round {
    /// Lines under the newest checkpoint.
    pub size: u64,
    /// The note with the cosignatures, when they are enough.
    pub cosigned: Option<String>,
    /// By witness, why it did not sign.
    pub refused: BTreeMap<String, String>,
}

/// Posts checkpoints.
#[derive(Debug)]
pub struct Client {
    dir: PathBuf,
    log: Verifier,
    policy: Policy,
    /// By witness, the last size that it cosigned, as far as is known here.
    last: BTreeMap<String, u64>,
    done: u64,
}

impl Client {
    pub fn new(dir: &Path, log: Verifier, policy: Policy) -> Self {
        Self {
            dir: dir.into(),
            log,
            policy,
            last: BTreeMap::new(),
            done: 0,
        }
    }

    /// Has the newest checkpoint cosigned. None when there is nothing new.
    pub fn round(&mut self) -> io::Result<Option<Round>> {
        let mut files = Files::new(DirDisk::new(&self.dir));
        let Some(note) = files.fetch(CHECKPOINT)? else {
            return Ok(None);
        };
        let wrong = |error: String| io::Error::new(io::ErrorKind::InvalidData, error);
        let text = String::from_utf8(note).map_err(|error| wrong(error.to_string()))?;
        let (checkpoint, mut note) =
            Checkpoint::open(&text, &self.log).map_err(|error| wrong(error.to_string()))?;
        let head = checkpoint.head;
        if head.size == self.done {
            return Ok(None);
        }
        let mut round = Round {
            size: head.size,
            ..Round::default()
        };
        for (name, key, url) in self.witnesses() {
            match self.ask(&mut files, &name, &key, &url, &head, &text) {
                Ok(signature) => note.signatures.push(signature),
                Err(reason) => drop(round.refused.insert(name, reason)),
            }
        }
        if is_met(&self.policy, &note) {
            round.cosigned = Some(note.to_string());
            self.done = head.size;
        }
        Ok(Some(round))
    }

    fn witnesses(&self) -> Vec<(String, Verifier, Url)> {
        let with_url = self.policy.witnesses.iter().filter_map(|witness| {
            let url = Url::parse(witness.url.as_deref()?)?;
            Some((witness.name.clone(), witness.key.clone(), url))
        });
        with_url.collect()
    }

    /// Posts to one witness; a second time from the size that it says it has.
    fn ask(
        &mut self,
        files: &mut Files<DirDisk>,
        name: &str,
        key: &Verifier,
        url: &Url,
        head: &Head,
        note: &str,
    ) -> Result<NoteSignature, String> {
        let mut old = self.last.get(name).copied().unwrap_or(0).min(head.size);
        for _ in 0..2 {
            let response = post(files, url, old, head, note).map_err(|error| error.to_string())?;
            match response.status {
                200 => {
                    let signature = signature(&response, key, note)?;
                    self.last.insert(name.into(), head.size);
                    return Ok(signature);
                }
                409 if response.content_type.starts_with(SIZE_TYPE) => {
                    let size = String::from_utf8_lossy(&response.body).trim().parse().ok();
                    let size = size.filter(|size| *size != old && *size <= head.size);
                    old = size.ok_or("the witness has cosigned another history of this log")?;
                }
                status => {
                    return Err(format!(
                        "status {status}: {}",
                        String::from_utf8_lossy(&response.body).trim()
                    ));
                }
            }
        }
        Err("the witness names another size each time".into())
    }
}

fn post(files: &mut Files<DirDisk>, url: &Url, old: u64, head: &Head, note: &str) -> io::Result<Response> {
    let fetch = |level, index, width| hashes(files, level, index, width);
    let asked = AddCheckpoint {
        old,
        proof: consistency(old, head.size, &mut Tiles::new(head.size, fetch))?,
        note: note.into(),
    };
    request(url, "POST", ADD_CHECKPOINT, asked.body().as_bytes())
}

/// The first line of an answer that is this witness's and holds; others are dropped, so that a note is never longer than its policy.
fn signature(response: &Response, key: &Verifier, note: &str) -> Result<NoteSignature, String> {
    let text = String::from_utf8_lossy(&response.body);
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    let ours = |signature: &NoteSignature| signature.name == key.name && signature.id == key.id();
    let mut lines = text.lines().filter_map(NoteSignature::parse).filter(ours);
    let good = lines.find(|line| key.verify_note(&note.text, &line.bytes).is_some());
    good.ok_or_else(|| "its answer is not signed with the key of the policy".into())
}

/// Says when the quorum is lost, and when it is there again.
#[derive(Debug, Default)]
pub struct Alarm {
    lost: bool,
}

impl Alarm {
    /// Hears what a round came to.
    pub fn hear(&mut self, round: &io::Result<Option<Round>>) {
        let lost = match round {
            Ok(None) => return,
            Ok(Some(round)) => {
                if round.cosigned.is_none() && !self.lost {
                    tracing::error!(size = round.size, refused = ?round.refused, "ALARM: too few witnesses cosign the log");
                }
                round.cosigned.is_none()
            }
            Err(error) => {
                if !self.lost {
                    tracing::error!(%error, "ALARM: the log's checkpoint cannot be given to its witnesses");
                }
                true
            }
        };
        if self.lost && !lost {
            tracing::info!("enough witnesses cosign the log again");
        }
        self.lost = lost;
    }
}
