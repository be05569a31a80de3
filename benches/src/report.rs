//! The tables, in Markdown.

use crate::arm::{Arm, Seen};
use crate::cases::{Sample, Samples};
use crate::mock::CHUNKS;
use crate::replay::Summary;
use std::fmt::Write;

/// The middle one; the lower of two.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

/// Medians over the rounds of a case, one arm against the server alone in the same round.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub alone_per_second: f64,
    pub ratio: f64,
    pub added_p50_us: f64,
    pub added_p99_us: f64,
}

impl Row {
    /// None when the arm has no sample.
    pub fn of(samples: &Samples, arm: Arm) -> Option<Self> {
        let (alone, watched) = (samples.get(&Arm::Alone)?, samples.get(&arm)?);
        let over_rounds =
            |of: &dyn Fn(&Sample, &Sample) -> f64| median(alone.iter().zip(watched).map(|(a, b)| of(a, b)));
        let us = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        Some(Self {
            alone_per_second: over_rounds(&|a, _| a.outcome.per_second)?,
            ratio: over_rounds(&|a, b| b.outcome.per_second / a.outcome.per_second)?,
            added_p50_us: over_rounds(&|a, b| us(b.outcome.p50) - us(a.outcome.p50))?,
            added_p99_us: over_rounds(&|a, b| us(b.outcome.p99) - us(a.outcome.p99))?,
        })
    }
}

/// What the agent used and gave over all rounds of a case.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    pub sent: u64,
    pub recorded: u64,
    pub partial: u64,
    pub lost: u64,
    pub cpu_us_per_exchange: f64,
    pub steady_mib: f64,
    pub peak_mib: f64,
}

impl Account {
    /// None when the arm is not the agent, or has no sample.
    pub fn of(samples: &Samples, arm: Arm) -> Option<Self> {
        let watched = samples.get(&arm).filter(|_| arm != Arm::Tcpdump)?;
        let seen: Vec<Seen> = watched.iter().filter_map(|sample| sample.seen).collect();
        let sum = |of: &dyn Fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
        let cpu = |sample: &Sample| {
            let answered = sample.outcome.answered.max(1) as f64;
            sample.seen.map(|seen| seen.cpu.as_secs_f64() * 1e6 / answered)
        };
        let mib = |kib: Option<u64>| kib.unwrap_or_default() as f64 / 1024.0;
        Some(Self {
            sent: watched.iter().map(|sample| sample.outcome.answered).sum(),
            recorded: sum(&|seen| seen.recorded),
            partial: sum(&|seen| seen.partial),
            lost: sum(&|seen| seen.lost),
            cpu_us_per_exchange: median(watched.iter().filter_map(cpu))?,
            steady_mib: mib(seen.iter().map(|seen| seen.memory.now).max()),
            peak_mib: mib(seen.iter().map(|seen| seen.memory.peak).max()),
        })
    }
}

/// The table of loads.
#[derive(Debug)]
pub struct Loads(String);

impl Default for Loads {
    fn default() -> Self {
        Self(
            "| load | alone/s | watched by | throughput | added p50 | added p99 | agent CPU | RSS steady (peak) \
             | recorded/sent | partial | declared lost |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
                .into(),
        )
    }
}

impl Loads {
    pub fn add(&mut self, load: &str, stream: bool, samples: &Samples) {
        for (arm, name) in [
            (Arm::Agent, "audit-agent"),
            (Arm::Storing, "audit-agent, content stored"),
            (Arm::Tcpdump, "tcpdump"),
        ] {
            let Some(row) = Row::of(samples, arm) else {
                continue;
            };
            let Row {
                alone_per_second,
                ratio,
                added_p50_us,
                added_p99_us,
            } = row;
            // Writing to a String cannot fail.
            let _ = write!(
                self.0,
                "| {} | {alone_per_second:.0} | {name} | {ratio:.3} | {added_p50_us:+.1} us | {added_p99_us:+.1} us | ",
                load
            );
            let account = Account::of(samples, arm);
            self.0 += &account.map_or("| | | | |\n".into(), |account| account.cells(stream));
        }
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Account {
    fn cells(&self, stream: bool) -> String {
        let Self {
            sent,
            recorded,
            partial,
            lost,
            cpu_us_per_exchange: cpu,
            steady_mib,
            peak_mib,
        } = self;
        let per_chunk = format!(" ({:.2} us a chunk)", cpu / CHUNKS as f64);
        let chunk = if stream { per_chunk.as_str() } else { "" };
        format!(
            "{cpu:.1} us{chunk} | {steady_mib:.0} ({peak_mib:.0}) MiB | {recorded}/{sent} | {partial} | {lost} |\n"
        )
    }
}

/// One line of the replay table.
pub fn replay_line(name: &str, summary: &Summary) -> String {
    let (records, megabytes) = (summary.records_per_second(), summary.megabytes_per_second());
    let events = summary.events as f64 / summary.records.max(1) as f64;
    format!("| {name} | {records:.0} records/s | {megabytes:.0} MB/s | {events:.1} events a record |\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([2.0, 1.0]), Some(1.0));
        assert_eq!(median([]), None);
    }
}
