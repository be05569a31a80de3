//! Whether a log was silent for longer than a running agent can be.
//!
//! In: checked lines in their order. Out: the [`Silence`]s between them. A running agent writes a heartbeat every
//! `heartbeat_s` seconds, as its records say, so a longer hole needs a word: an orderly stop before it, or a record behind it
//! that says what was the matter. Never: a judgement where no record has said how often heartbeats come; a clock.

use super::line::Checked;
use crate::limits;
use serde::Serialize;

/// Heartbeats that may be late or wait for others before it is a silence.
const MISSED: u64 = 3;
/// The agent gives way to the servers it watches: a hole as short as this says nothing.
const LEAST_NS: u64 = 30_000_000_000;

/// A time of which the log says nothing, not even that it says nothing.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Silence {
    /// Times of the records on both sides.
    pub from: String,
    pub until: String,
    /// The first record behind it.
    pub seq: u64,
}

/// What a line is for the cadence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Says that, and why, nothing was recorded before it, or that its time does not continue the one before.
    Word,
    /// The agent begins, or stops in order.
    Start,
    Stop,
    /// Of the log itself or asked for by a person: it can come before the word.
    Aside,
    Other,
}

impl Kind {
    fn of(line: &Checked) -> Self {
        match (line.record_type.as_str(), line.gap.as_deref()) {
            ("recovery", _) | ("gap", Some("agent_down" | "clock" | "sink")) => Self::Word,
            ("agent_start", _) => Self::Start,
            ("agent_stop", _) => Self::Stop,
            ("epoch" | "retention" | "access" | "erasure", _) => Self::Aside,
            _ => Self::Other,
        }
    }
}

/// Follows the times of a log.
#[derive(Debug, Default)]
pub struct Cadence {
    /// Between two heartbeats, as the last record that said it.
    every_ns: Option<u64>,
    /// The latest time so far; None before the agent starts and behind its stop.
    last: Option<(u64, String)>,
    /// A hole whose next record that could explain it is still to come.
    open: Option<Silence>,
    silences: Vec<Silence>,
    count: u64,
}

impl Cadence {
    /// The next line. One whose time cannot be read is passed over.
    pub fn line(&mut self, line: &Checked) {
        let Some(now) = unix_ns(&line.time) else { return };
        let kind = Kind::of(line);
        self.look(now, line);
        match kind {
            Kind::Aside => {}
            Kind::Word => self.open = None,
            _ => self.close(),
        }
        if let Some(seconds) = line.heartbeat_s.filter(|seconds| *seconds > 0) {
            self.every_ns = Some(seconds.saturating_mul(1_000_000_000));
        }
        let time = || Some((now, line.time.clone()));
        self.last = match kind {
            Kind::Stop => None,
            Kind::Word | Kind::Start => time(),
            Kind::Aside if self.last.is_none() => None,
            // Records of one moment can come in another order.
            _ if self.last.as_ref().is_some_and(|(last, _)| *last > now) => return,
            _ => time(),
        };
    }

    /// Opens a hole when `now` is too long after the latest line.
    fn look(&mut self, now: u64, line: &Checked) {
        let (Some(every), Some((last, from))) = (self.every_ns, &self.last) else {
            return;
        };
        let most = every.saturating_mul(MISSED).max(LEAST_NS);
        if self.open.is_none() && now.saturating_sub(*last) > most {
            self.open = Some(Silence {
                from: from.clone(),
                until: line.time.clone(),
                seq: line.seq,
            });
        }
    }

    fn close(&mut self) {
        let Some(silence) = self.open.take() else { return };
        self.count += 1;
        if self.silences.len() < limits::SILENCES {
            self.silences.push(silence);
        }
    }

    /// The lines up to the next one are not there.
    pub fn skip(&mut self) {
        self.last = None;
    }

    /// The first of the silences, and how many there are.
    pub fn finish(mut self) -> (Vec<Silence>, u64) {
        self.close();
        (self.silences, self.count)
    }
}

/// Nanoseconds since 1970 of an RFC 3339 time in UTC.
pub fn unix_ns(time: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(time).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

#[cfg(test)]
mod tests;
