//! Asks the witnesses of a policy to cosign the log's checkpoints.
//!
//! In: the log's directory, as the agent writes it. Out: `checkpoint.cosigned`, once a quorum has signed. It reads what
//! everybody may read and needs no key; the agent never waits for it.

use super::{ADD_CHECKPOINT, AddCheckpoint, SIZE_TYPE};
use crate::ledger::disk::{DirDisk, Disk};
use crate::ledger::http::{Response, Url, request};
use crate::ledger::keys::Verifier;
use crate::ledger::merkle::proof::{Head, consistency};
use crate::ledger::merkle::tile::Tiles;
use crate::ledger::note::{Checkpoint, Note, NoteSignature};
use crate::ledger::policy::Policy;
use crate::ledger::source::{Files, Source, hashes};
use crate::ledger::store::{CHECKPOINT, COSIGNED};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the log.
const PAUSE: Duration = Duration::from_secs(1);

/// What one round came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Round {
    /// Lines under the newest checkpoint.
    pub size: u64,
    /// Whether the quorum cosigned it.
    pub met: bool,
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
                Ok(signatures) => note.signatures.extend(signatures),
                Err(reason) => drop(round.refused.insert(name, reason)),
            }
        }
        round.met = self.is_met(&note);
        if round.met {
            DirDisk::new(&self.dir).replace(COSIGNED, note.to_string().as_bytes())?;
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

    fn is_met(&self, note: &Note) -> bool {
        let signed = self.policy.cosigned(note).unwrap_or_default();
        let names: BTreeSet<&str> = signed.iter().map(|signed| signed.witness.as_str()).collect();
        !names.is_empty() && self.policy.is_met(&names)
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
    ) -> Result<Vec<NoteSignature>, String> {
        let mut old = self.last.get(name).copied().unwrap_or(0).min(head.size);
        for _ in 0..2 {
            let response = post(files, url, old, head, note).map_err(|error| error.to_string())?;
            match response.status {
                200 => {
                    let signatures = signatures(&response, key, note)?;
                    self.last.insert(name.into(), head.size);
                    return Ok(signatures);
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

/// The lines of an answer that are this witness's and hold; others are dropped.
fn signatures(response: &Response, key: &Verifier, note: &str) -> Result<Vec<NoteSignature>, String> {
    let text = String::from_utf8_lossy(&response.body);
    let note = Note::parse(note).map_err(|error| error.to_string())?;
    let ours = |signature: &NoteSignature| signature.name == key.name && signature.id == key.id();
    let lines = text.lines().filter_map(NoteSignature::parse).filter(ours);
    let good: Vec<NoteSignature> = lines
        .filter(|line| key.verify_note(&note.text, &line.bytes).is_some())
        .collect();
    if good.is_empty() {
        return Err("its answer is not signed with the key of the policy".into());
    }
    Ok(good)
}

/// Has checkpoints cosigned in a thread of its own, for as long as the process lives; says when the quorum is lost and
/// when it is there again.
pub fn start(mut client: Client) {
    std::thread::spawn(move || {
        let mut met = true;
        loop {
            std::thread::sleep(PAUSE);
            let now_met = match client.round() {
                Ok(None) => continue,
                Ok(Some(round)) => {
                    if !round.met && met {
                        tracing::error!(size = round.size, refused = ?round.refused, "ALARM: too few witnesses cosign the log");
                    }
                    round.met
                }
                Err(error) => {
                    if met {
                        tracing::error!(%error, "ALARM: the log's checkpoint cannot be given to its witnesses");
                    }
                    false
                }
            };
            if now_met && !met {
                tracing::info!("enough witnesses cosign the log again");
            }
            met = now_met;
        }
    });
}
