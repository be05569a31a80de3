//! What an exchange of each API family costs, and how many signed records a second a mix of all families gives.
//!
//! In: the fixtures of `tests/fixtures`, each as a connection of its own. Out: time for each call, in one run. Never: a kernel, a
//! file: what is measured is the pipeline, from captured events to the bodies of records, and for the mix to signed lines.

use crate::report::median;
use crate::traffic::{self, PIECE, Traffic};
use anyhow::{Context, Result, ensure};
use audit_agent::ledger::chain::Chain;
use audit_agent::ledger::epoch::Epochs;
use audit_agent::ledger::keys::LogKey;
use audit_tests::fixture::{self, Fixture};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the others are compared with.
const BASE: &str = "openai_chat";
const LOG: &str = "bench.example/log";
/// Runs of all exchanges before the first that counts.
const WARM_UP: u32 = 1;

/// The fixtures of one family.
#[derive(Debug)]
pub struct Family {
    pub name: String,
    fixtures: Vec<Fixture>,
    /// Calls in all of them.
    pub calls: u64,
}

/// All families that have calls.
pub fn all() -> Result<Vec<Family>> {
    let mut families = BTreeMap::<String, Vec<Fixture>>::new();
    for fixture in fixture::all()? {
        let name = fixture.name();
        let family = name.split('/').next().unwrap_or_default();
        families.entry(family.to_owned()).or_default().push(fixture);
    }
    let families = families.into_iter().map(|(name, fixtures)| Family {
        calls: fixtures
            .iter()
            .map(|fixture| fixture.calls(PIECE).len() as u64)
            .sum(),
        name,
        fixtures,
    });
    Ok(families.filter(|family| family.calls > 0).collect())
}

impl Family {
    /// The fixtures of all of `families` as one.
    pub fn mix(families: &[Self]) -> Self {
        Self {
            name: "mix of all".into(),
            fixtures: families
                .iter()
                .flat_map(|family| family.fixtures.clone())
                .collect(),
            calls: families.iter().map(|family| family.calls).sum(),
        }
    }

    /// One chat of 1 KiB in and out, as the loads of the other tables are.
    fn plain() -> Self {
        Self {
            name: "1 KiB bodies".into(),
            fixtures: vec![traffic::plain()],
            calls: 1,
        }
    }

    fn body_bytes(&self) -> usize {
        let bytes = self.fixtures.iter();
        bytes
            .map(|fixture| fixture.request.len() + fixture.response.len())
            .sum()
    }
}

/// What the records of a run are signed by, if they are to be.
struct Run {
    traffic: Traffic,
    chain: Option<Chain>,
    records: u64,
}

impl Run {
    fn new(signing: bool) -> Self {
        let key = LogKey::new(LOG, &[7; 32]);
        let traffic = Traffic::new(key.verifier().to_string());
        let chain = signing.then(|| Chain::new(key, Epochs::new(LOG, 1, [5; 32].into())));
        Self {
            traffic,
            chain,
            records: 0,
        }
    }

    fn exchange(&mut self, fixture: &Fixture) {
        self.traffic.exchange(fixture);
        self.take();
    }

    fn tick(&mut self) {
        self.traffic.tick();
        self.take();
    }

    fn take(&mut self) {
        let mut lines = Vec::new();
        for (body, unix_ns) in self.traffic.records() {
            self.records += 1;
            if let Some(chain) = &mut self.chain {
                chain.sign(&body, unix_ns, &mut lines);
                drop(chain.take_full());
            }
            std::hint::black_box(body);
        }
        std::hint::black_box(lines);
    }
}

/// What this thread has used of its core: others on the machine do not count, unless they take its caches.
fn processor_time() -> Result<Duration> {
    let clock = nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID;
    Ok(nix::time::clock_gettime(clock)?.into())
}

/// What one round gave.
#[derive(Clone, Copy, Debug)]
struct Figures {
    nanos_per_call: f64,
    records_per_second: f64,
}

/// Goes through the fixtures until `calls` calls were made.
fn measure(family: &Family, calls: u64, signing: bool) -> Result<Figures> {
    let mut run = Run::new(signing);
    let repeats = calls.div_ceil(family.calls).max(1);
    for _ in 0..WARM_UP {
        family.fixtures.iter().for_each(|fixture| run.exchange(fixture));
    }
    let before = run.records;
    let start = processor_time()?;
    for _ in 0..repeats {
        family.fixtures.iter().for_each(|fixture| run.exchange(fixture));
        run.tick();
    }
    let elapsed = processor_time()?.saturating_sub(start);
    let records = run.records - before;
    ensure!(records > 0 && !elapsed.is_zero(), "{}: no record", family.name);
    Ok(Figures {
        nanos_per_call: elapsed.as_nanos() as f64 / (repeats * family.calls) as f64,
        records_per_second: records as f64 / elapsed.as_secs_f64(),
    })
}

/// The tables: medians over rounds in which all families take turns.
pub fn tables(calls: u64, rounds: usize) -> Result<String> {
    let mut families = all()?;
    families.push(Family::mix(&families));
    let mut nanos = vec![Vec::new(); families.len()];
    let (plain, mut signed) = (Family::plain(), Vec::new());
    for _ in 0..rounds {
        for (family, nanos) in families.iter().zip(&mut nanos) {
            nanos.push(measure(family, calls, false)?.nanos_per_call);
        }
        let mix = families.last().context("there are families")?;
        let [mix, plain] = [mix, &plain].map(|family| measure(family, calls, true));
        signed.push((mix?.records_per_second, plain?.records_per_second));
    }
    let base = families.iter().position(|family| family.name == BASE);
    let base = nanos.get(base.context("the fixtures have the family that others are compared with")?);
    let base = base.cloned().unwrap_or_default();
    let mut table = String::from(
        "| captured events to records on one core, unsigned | calls in its fixtures | bytes a call | time a call \
         | against OpenAI chat |\n|---|--:|--:|--:|--:|\n",
    );
    for (family, own) in families.iter().zip(&nanos) {
        let ratios = own.iter().zip(&base).map(|(own, base)| own / base);
        table += &format!(
            "| {} | {} | {} | {:.0} ns | {:.2} |\n",
            family.name,
            family.calls,
            family.body_bytes() as u64 / family.calls,
            median(own.iter().copied()).unwrap_or_default(),
            median(ratios).unwrap_or_default(),
        );
    }
    let of = |rates: &dyn Fn(&(f64, f64)) -> f64| median(signed.iter().map(rates)).unwrap_or_default();
    table += &format!(
        "\nSigning included, on one core: {:.0} records/s of the mix of all families, {:.0} records/s of 1 KiB bodies, \
         {:.2} times.\n",
        of(&|(mix, _)| *mix),
        of(&|(_, plain)| *plain),
        of(&|(mix, plain)| mix / plain),
    );
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_gives_its_records() -> Result<()> {
        for family in all()? {
            let mut run = Run::new(true);
            family.fixtures.iter().for_each(|fixture| run.exchange(fixture));
            run.tick();
            assert!(run.records > 0, "{}", family.name);
        }
        Ok(())
    }

    #[test]
    fn the_table_has_a_line_for_each_family_and_the_mix() -> Result<()> {
        let table = tables(1, 1)?;
        let lines = table.lines().filter(|line| line.contains(" ns |")).count();
        assert_eq!(lines, all()?.len() + 1);
        assert!(table.contains("| openai_chat |") && table.contains("records/s"));
        Ok(())
    }
}
