//! Keeps the newest checkpoint that enough witnesses cosigned.
//!
//! In: notes, from the process that asks the witnesses and reads what strangers answer. Out: `checkpoint.cosigned`. Never: a
//! note that this log has not signed, that too few have cosigned, or that is older than the last.

use crate::ledger::disk::Disk;
use crate::ledger::keys::Verifier;
use crate::ledger::note::{Checkpoint, Note};
use crate::ledger::policy::Policy;
use crate::ledger::store::COSIGNED;
use std::collections::BTreeSet;
use std::io;

/// Where they are kept, and what is asked of them.
#[derive(Debug)]
pub struct Cosigned<D> {
    disk: D,
    log: Verifier,
    policy: Policy,
    /// Lines under the last one.
    size: u64,
}

impl<D: Disk> Cosigned<D> {
    pub fn new(disk: D, log: Verifier, policy: Policy) -> Self {
        Self {
            disk,
            log,
            policy,
            size: 0,
        }
    }

    /// Checks a note and keeps it.
    ///
    /// # Errors
    /// `InvalidData` for a note that may not be kept; else what the disk says.
    pub fn accept(&mut self, note: &str) -> io::Result<()> {
        let wrong = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let (checkpoint, parsed) =
            Checkpoint::open(note, &self.log).map_err(|error| wrong(error.to_string()))?;
        if checkpoint.head.size < self.size {
            return Err(wrong(format!("it is older than {} lines", self.size)));
        }
        if !is_met(&self.policy, &parsed) {
            return Err(wrong("too few witnesses have cosigned it".into()));
        }
        self.disk.replace(COSIGNED, note.as_bytes())?;
        self.size = checkpoint.head.size;
        Ok(())
    }
}

/// Whether the cosignatures of `note` are enough, and at least one.
pub fn is_met(policy: &Policy, note: &Note) -> bool {
    let signed = policy.cosigned(note).unwrap_or_default();
    let names: BTreeSet<&str> = signed.iter().map(|signed| signed.witness.as_str()).collect();
    !names.is_empty() && policy.is_met(&names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::disk::DirDisk;
    use crate::ledger::keys::LogKey;
    use crate::ledger::merkle::proof::Head;

    const NOW: u64 = 1_790_000_000;

    fn note(log: &LogKey, size: u64, witness: Option<&LogKey>) -> String {
        let head = Head { size, root: [1; 32] };
        let origin = log.name().into();
        let mut note = Checkpoint { origin, head }.note(log);
        if let Some(witness) = witness {
            note.cosign(witness, NOW);
        }
        note.to_string()
    }

    #[test]
    fn only_what_the_log_signed_and_enough_cosigned_is_kept_and_nothing_older() {
        let dir = tempfile::tempdir().unwrap();
        let [log, other, witness] =
            [("log", 1), ("log", 2), ("witness", 3)].map(|(name, seed)| LogKey::new(name, &[seed; 32]));
        let key = witness.verifier().cosigner();
        let policy = Policy::parse(&format!("witness w {key}\nquorum w\n")).unwrap();
        let mut cosigned = Cosigned::new(DirDisk::new(dir.path()), log.verifier(), policy);
        let good = note(&log, 9, Some(&witness));
        cosigned.accept(&good).unwrap();
        for bad in [
            note(&log, 10, None),
            note(&log, 10, Some(&other)),
            note(&other, 10, Some(&witness)),
            note(&log, 8, Some(&witness)),
            good.replace("9\n", "10\n"),
            String::new(),
        ] {
            let error = cosigned.accept(&bad).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad}");
        }
        assert_eq!(std::fs::read_to_string(dir.path().join(COSIGNED)).unwrap(), good);
        cosigned.accept(&note(&log, 10, Some(&witness))).unwrap();
    }
}
