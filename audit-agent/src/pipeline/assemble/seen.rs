//! How an exchange was seen: what of it is missing and why, by which path, through which TLS library.
//!
//! In: a finished exchange, its connection. Out: the record's `capture`. Never: `complete` where a byte is missing.

use super::Surroundings;
use crate::http::BodyState;
use crate::limits::cut;
use crate::pipeline::exchange::Finished;
use crate::record::INTEGER_MAX;
use crate::record::inference::{Capture, TlsCapture};

pub fn capture(finished: &Finished, around: &Surroundings<'_>) -> Capture {
    let missed = finished
        .request
        .missed_bytes
        .saturating_add(finished.response.missed_bytes)
        .min(INTEGER_MAX);
    let seen = finished.request.wire_bytes + finished.response.wire_bytes;
    let (request, response) = (finished.request.state, finished.response.state);
    let state = match (request, response, finished.status) {
        (BodyState::Complete, BodyState::Complete, _) => "complete",
        (_, _, None) => "header_only",
        // A peer that went away is seen completely: there was nothing more.
        (BodyState::Complete | BodyState::Aborted, BodyState::Complete | BodyState::Aborted, _)
            if missed == 0 =>
        {
            "complete"
        }
        _ => "partial",
    };
    let mut notes: Vec<String> = finished
        .call
        .notes
        .iter()
        .map(|note| (*note).to_owned())
        .collect();
    if finished.head_partial {
        notes.push("headers_partial".to_owned());
    }
    for end in [request, response] {
        if let BodyState::Malformed(why) | BodyState::Undecodable(why) = end {
            notes.push(why.to_owned());
        }
    }
    Capture {
        bytes_missed: missed,
        bytes_seen: seen,
        gaps: around
            .connection
            .gaps
            .iter()
            .map(|(cause, len)| (cause.name().to_owned(), (*len).min(INTEGER_MAX)))
            .collect(),
        joined: around.connection.joined,
        notes,
        request_state: state_name(request).into(),
        response_state: state_name(response).into(),
        source: around.capture_path.into(),
        state: state.into(),
        tls: tls(around),
    }
}

/// The library that had the plaintext. Where a process has several, all of them are named.
fn tls(around: &Surroundings<'_>) -> Option<TlsCapture> {
    let tls = around.connection.tls?;
    let libraries = around.processes.tls(around.connection.watched_pid());
    let seen = || libraries.iter().filter(|library| library.problem.is_none());
    let mut names: Vec<_> = seen().map(|library| library.library.clone()).collect();
    let mut versions: Vec<_> = seen().filter_map(|library| library.version.clone()).collect();
    names.dedup();
    versions.dedup();
    let joined = |names: Vec<String>| (!names.is_empty()).then(|| cut(&names.join(",")));
    Some(TlsCapture {
        library: joined(names),
        pairing: tls.pairing.name().into(),
        version: joined(versions),
    })
}

fn state_name(state: BodyState) -> &'static str {
    match state {
        BodyState::Complete => "complete",
        BodyState::Aborted => "aborted",
        BodyState::Gap => "gap",
        BodyState::Malformed(_) => "malformed",
        BodyState::Undecodable(_) => "undecodable",
    }
}
