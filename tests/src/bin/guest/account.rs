//! What the log says of a connection, against what its client knows.
//!
//! In: bytes and bodies of a connection, signed records. Out: whether all of it was seen, or everything that was not is
//! declared. Never: bytes that are neither, or twice.

use super::client::Moved;
use super::exchange::check;
use anyhow::{Result, bail, ensure};
use audit_tests::record;
use serde_json::Value;
use std::collections::BTreeSet;

/// How a case ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Every record is complete and right.
    Seen,
    /// Bytes are missing; all of them are declared, and why.
    Declared(String),
}

/// The records of one connection, and the gap records that name it.
struct Told<'a> {
    inferences: Vec<&'a Value>,
    gaps: Vec<&'a Value>,
}

fn told<'a>(moved: &Moved, records: &'a [Value]) -> Told<'a> {
    let Some(from) = moved.from else {
        // A client of a unix socket has no address: its requests name it.
        let hash = |[request, _]: &[Vec<u8>; 2]| record::sha256(request);
        let own: BTreeSet<String> = moved.bodies.iter().map(hash).collect();
        let of = |found: &&Value| {
            found["request_body_hash"]
                .as_str()
                .is_some_and(|hash| own.contains(hash))
        };
        let named = |found: &&Value| found["connection"]["server"] == moved.place;
        return Told {
            inferences: record::of_type(records, "inference")
                .into_iter()
                .filter(of)
                .collect(),
            gaps: record::of_type(records, "gap")
                .into_iter()
                .filter(named)
                .collect(),
        };
    };
    // Two connections may have the same port at one end, but not at both.
    let (client, server) = (from.port().to_string(), port(&moved.place));
    let named = |found: &&Value| {
        let end = |name: &str| port(found["connection"][name].as_str().unwrap_or_default());
        end("client") == client && end("server") == server
    };
    let is = |port: &Value, wanted: &str| port.as_u64().is_some_and(|port| wanted.parse() == Ok(port));
    let of = |found: &&Value| is(&found["client"]["port"], &client) && is(&found["server"]["port"], server);
    Told {
        inferences: record::of_type(records, "inference")
            .into_iter()
            .filter(of)
            .collect(),
        gaps: record::of_type(records, "gap")
            .into_iter()
            .filter(named)
            .collect(),
    }
}

/// Behind an address's last colon.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

impl Told<'_> {
    fn sum(&self, member: &str) -> u64 {
        let of = |found: &&Value| found["capture"][member].as_u64().unwrap_or(0);
        self.inferences.iter().map(of).sum()
    }

    /// Bytes that gap records declare for one of `reasons`, or for any without one.
    fn in_gaps(&self, reasons: &[&str]) -> u64 {
        let lost = self.gaps.iter().filter_map(|gap| gap["lost_bytes"].as_object());
        let lost = lost.flatten();
        let wanted = lost.filter(|(name, _)| reasons.is_empty() || reasons.contains(&name.as_str()));
        wanted.filter_map(|(_, bytes)| bytes.as_u64()).sum()
    }

    /// Bytes that are declared: missing, or seen and in no record.
    fn declared(&self) -> u64 {
        self.sum("bytes_missed") + self.in_gaps(&[])
    }

    /// Bytes that are declared missing.
    fn missed(&self) -> u64 {
        self.sum("bytes_missed") + self.in_gaps(&["missed", "unseen", "opening_lost"])
    }

    /// Names of what is missing.
    fn causes(&self) -> String {
        let members = |of: &Value| of.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        let gaps = self.gaps.iter().filter_map(|gap| members(&gap["lost_bytes"]));
        let missed = self
            .inferences
            .iter()
            .filter_map(|found| members(&found["capture"]["gaps"]));
        let names: BTreeSet<String> = gaps.chain(missed).flatten().collect();
        names.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// What the log says of a connection, in short.
pub fn shown(moved: &Moved, records: &[Value]) -> String {
    let told = told(moved, records);
    let inference = |found: &&Value| format!("{} {}", found["time"], found["capture"]);
    let gap = |gap: &&Value| format!("{} {} {}", gap["time"], gap["where"], gap["lost_bytes"]);
    let inferences = told.inferences.iter().map(inference);
    let lines: Vec<String> = inferences.chain(told.gaps.iter().map(gap)).collect();
    lines.join("; ")
}

impl Told<'_> {
    /// Whether nothing of what moved is left out: every byte is in a record or declared. Where a whole direction was not
    /// seen, what the other one says without it may be in no record; the direction is declared to the byte.
    fn is_whole(&self, moved: &Moved) -> bool {
        let (seen, declared) = (self.sum("bytes_seen"), self.declared());
        let missed = self.missed();
        let whole = [moved.sent, moved.received, moved.bytes()];
        seen + declared == moved.bytes()
            || seen + declared < moved.bytes() && seen == 0 && whole.contains(&missed)
    }
}

/// Whether the log has an account of every byte by now.
pub fn is_settled(moved: &Moved, records: &[Value]) -> bool {
    told(moved, records).is_whole(moved)
}

/// Bytes of a connection that are declared missing.
pub fn declared(moved: &Moved, records: &[Value]) -> u64 {
    told(moved, records).missed()
}

/// How a connection was seen on the capture path `path`.
pub fn of(moved: &Moved, path: &str, records: &[Value]) -> Result<Outcome> {
    let told = told(moved, records);
    let (seen, declared) = (told.sum("bytes_seen"), told.declared());
    ensure!(
        told.is_whole(moved),
        "{} bytes sent and {} received, {seen} are seen and {declared} declared: {}",
        moved.sent,
        moved.received,
        shown(moved, records)
    );
    if declared == 0 {
        return in_whole(moved, path, &told).map(|()| Outcome::Seen);
    }
    for found in &told.inferences {
        let complete = found["capture"]["state"] == "complete";
        if complete
            && !moved
                .bodies
                .iter()
                .any(|bodies| check(found, path, bodies).is_ok())
        {
            bail!("a record that says it is complete is of no exchange: {found}");
        }
    }
    Ok(Outcome::Declared(format!(
        "{} of {} bytes: {}",
        told.missed(),
        moved.bytes(),
        told.causes()
    )))
}

/// One record for each exchange, in order, and each of them right.
fn in_whole(moved: &Moved, path: &str, told: &Told<'_>) -> Result<()> {
    let (expected, found) = (moved.bodies.len(), told.inferences.len());
    ensure!(found == expected, "{found} records of {expected} exchanges");
    for (found, bodies) in told.inferences.iter().zip(&moved.bodies) {
        check(found, path, bodies)?;
        let named = &found["server"]["unix_path"];
        ensure!(
            moved.from.is_some() || *named == moved.place,
            "the unix socket is {named} and not {}",
            moved.place
        );
    }
    Ok(())
}

/// What of a record does not depend on when it was made and by which path.
pub fn normalised(moved: &Moved, records: &[Value]) -> Vec<Value> {
    const VOLATILE: &[&str] = &[
        "client",
        "server",
        "system",
        "time",
        "start_time",
        "end_time",
        "first_token_time",
        "latency_us",
        "ttft_us",
        "time_to_first_token_us",
        "seq",
        "prev",
        "record_id",
        "signature",
        "key_id",
        "log_id",
        "epoch",
        "salt_id",
        "connection_id",
        "exchange_id",
        "caused_by",
        "link_candidates",
        "timing",
    ];
    let strip = |found: &&Value| {
        let mut found = (*found).clone();
        if let Some(members) = found.as_object_mut() {
            members.retain(|name, _| !VOLATILE.contains(&name.as_str()));
        }
        if let Some(capture) = found["capture"].as_object_mut() {
            capture.remove("source");
        }
        found
    };
    told(moved, records).inferences.iter().map(strip).collect()
}
