//! What a log without a fault comes to.
//!
//! In: what was found on the way through it, its signed checkpoints, what the auditor asks for. Out: the verdict and its
//! reason. Never: a verdict better than the worst of what was found.

use super::{Asked, Finding, Stop, Verdict};
use crate::ledger::merkle::proof::Head;
use crate::ledger::note::Note;
use crate::ledger::policy::Cosigned;
use crate::ledger::verify::Report;
use std::collections::BTreeSet;

/// The verdict on a log without a fault.
pub fn judge(asked: &Asked, notes: Vec<(Head, Note)>, finding: &mut Finding) -> Result<(), Stop> {
    let mut quorum: Option<(u64, Vec<Cosigned>)> = None;
    for (head, note) in notes {
        let signed = asked.policy.cosigned(&note).map_err(|error| {
            let reason = format!("a witness's signature on the checkpoint: {error}");
            Stop::At(Verdict::Tampered, head.size.saturating_sub(1), reason)
        })?;
        let names: BTreeSet<&str> = signed.iter().map(|signed| signed.witness.as_str()).collect();
        let better = quorum.as_ref().is_none_or(|(size, _)| head.size > *size);
        if asked.policy.is_met(&names) && better {
            quorum = Some((head.size, signed));
        }
    }
    let Some((size, signed)) = quorum else {
        let unsigned = finding.signed == 0;
        finding.verdict = if unsigned {
            Verdict::UnverifiedTail
        } else {
            Verdict::PolicyUnmet
        };
        finding.reason = match unsigned {
            true => "there is no checkpoint: whether the end is missing cannot be told".into(),
            false => "no checkpoint has the cosignatures that the policy asks for".into(),
        };
        return Ok(());
    };
    let newest = signed.iter().map(|signed| signed.time).max();
    finding.cosigned_by = signed.into_iter().map(|signed| signed.witness).collect();
    finding.cosigned = size;
    let old = asked
        .newest_since
        .filter(|since| newest.is_none_or(|newest| newest < *since));
    let unverified = finding.signed + finding.unsigned - size;
    (finding.verdict, finding.reason) = if old.is_some() {
        (
            Verdict::PolicyUnmet,
            "the newest cosignature is older than asked for".into(),
        )
    } else if unverified > 0 || finding.torn {
        let torn = if finding.torn {
            ", and bytes that are no whole record"
        } else {
            ""
        };
        (
            Verdict::UnverifiedTail,
            format!("{unverified} records are behind the last checkpoint{torn}"),
        )
    } else {
        gaps(&finding.log)
    };
    Ok(())
}

/// The verdict on a log that is whole: what it says, or fails to say, of what was not recorded.
fn gaps(log: &Report) -> (Verdict, String) {
    let gaps: u64 = log.gaps.values().sum();
    let said = (gaps > 0).then(|| format!("{gaps} gap records say what was not recorded"));
    let silent =
        (log.silence_count > 0).then(|| format!("silences: {}, and no record says why", log.silence_count));
    let lost = log
        .lost_first_line
        .is_some()
        .then(|| "an earlier log of this key was gone when this one began".to_owned());
    let reasons: Vec<String> = said.into_iter().chain(silent).chain(lost).collect();
    if reasons.is_empty() {
        (Verdict::Intact, String::new())
    } else {
        (Verdict::IntactWithGaps, reasons.join("; "))
    }
}
