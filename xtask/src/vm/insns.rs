//! How many instructions the verifier looked at, by program and kernel, against what the repository keeps.
//!
//! In: `PROGRAM name count` lines of a guest. Out: the table of `docs/verifier-insns.md`; a failure when a program
//! has grown. The kernel refuses a program at a million, and the count grows faster than the code.

use super::arch::Arch;
use crate::shell::root;
use anyhow::{Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Growth over the kept count that is still no failure, in percent.
const SLACK_PERCENT: u64 = 20;
const HEAD: &str = "# Instructions that the verifier looked at\n\n\
    By program and kernel, as the kernel counts them (since 5.16); it refuses a program at 1,000,000. Written by\n\
    `cargo xtask vm --write`; `cargo xtask vm` fails when a program is more than 20 % over its number here.\n\n";

/// Counts of one kernel by program.
pub type Counts = BTreeMap<String, u64>;

/// Counts by kernel.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Table {
    columns: BTreeMap<Column, Counts>,
}

/// A kernel's place in the table: by architecture, then by version.
type Column = (String, Vec<u64>);

/// The column of a kernel, `x86_64` and `6.1`.
pub fn column(arch: Arch, series: &str) -> String {
    format!("{} {series}", arch.name())
}

/// The counts that a guest printed.
pub fn in_report(lines: &[String]) -> Counts {
    let count = |line: &String| {
        let (name, count) = line.strip_prefix("PROGRAM ")?.split_once(' ')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    lines.iter().filter_map(count).collect()
}

fn path() -> PathBuf {
    root().join("docs/verifier-insns.md")
}

/// Architecture and version of `x86_64 6.1`, in an order.
pub fn key(column: &str) -> Column {
    let (arch, series) = column.split_once(' ').unwrap_or(("", column));
    let numbers = series.split('.').map(|number| number.parse().unwrap_or(0));
    (arch.to_owned(), numbers.collect())
}

fn title((arch, numbers): &Column) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    format!("{arch} {}", numbers.join("."))
}

/// The cells of a table's row.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim().trim_matches('|').split('|').map(str::trim)
}

impl Table {
    /// The table of the repository; empty when there is none.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(path()).unwrap_or_default();
        Ok(Self::parse(&text))
    }

    pub fn write(&self) -> Result<()> {
        Ok(fs::write(path(), self.show())?)
    }

    /// Replaces a kernel's counts.
    pub fn set(&mut self, column: &str, counts: Counts) {
        if !counts.is_empty() {
            self.columns.insert(key(column), counts);
        }
    }

    /// Fails when a program has grown, or when what is loaded is not what the kernel's column has, if it has one.
    pub fn compare(&self, column: &str, counts: &Counts) -> Result<()> {
        let Some(kept) = self.columns.get(&key(column)) else {
            return Ok(());
        };
        let grown = |(name, count): (&String, &u64)| match kept.get(name) {
            Some(kept) if *count <= kept + kept * SLACK_PERCENT / 100 => None,
            Some(kept) => Some(format!("{name}: {count} instructions, {kept} kept")),
            None => Some(format!("{name}: {count} instructions, none kept")),
        };
        let gone = |name: &&String| !counts.contains_key(*name);
        let gone = kept.keys().filter(gone).map(|name| format!("{name}: not loaded"));
        let changes: Vec<String> = counts.iter().filter_map(grown).chain(gone).collect();
        if !changes.is_empty() {
            bail!(
                "{}; if that is meant, run `cargo xtask vm --write` and commit the table",
                changes.join("; ")
            );
        }
        Ok(())
    }

    fn parse(text: &str) -> Self {
        let mut rows = text.lines().filter(|line| line.starts_with('|'));
        let titles: Vec<&str> = rows
            .next()
            .map(|row| cells(row).skip(1).collect())
            .unwrap_or_default();
        let mut table = Self::default();
        for row in rows.skip(1) {
            let mut cells = cells(row);
            let name = cells.next().unwrap_or_default();
            for (title, cell) in titles.iter().zip(cells) {
                if let Ok(count) = cell.parse() {
                    let counts = table.columns.entry(key(title)).or_default();
                    counts.insert(name.to_owned(), count);
                }
            }
        }
        table
    }

    fn show(&self) -> String {
        let names: BTreeSet<&String> = self.columns.values().flat_map(BTreeMap::keys).collect();
        let titles: Vec<String> = self.columns.keys().map(title).collect();
        let mut text = format!("{HEAD}| program | {} |\n|---|", titles.join(" | "));
        text += &"---:|".repeat(titles.len());
        for name in names {
            let cell = |counts: &Counts| counts.get(name).map_or("-".into(), u64::to_string);
            let cells: Vec<String> = self.columns.values().map(cell).collect();
            text += &format!("\n| {name} | {} |", cells.join(" | "));
        }
        text + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        Counts::from([("sys_exit".to_owned(), count)])
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let mut table = Table::default();
        table.set("x86_64 6.1", counts(100));
        table.set("x86_64 6.12", counts(7));
        table.set("aarch64 6.1", Counts::from([("sys_enter".to_owned(), 3)]));
        let text = table.show();
        assert_eq!(Table::parse(&text), table);
        assert!(
            text.contains("| program | aarch64 6.1 | x86_64 6.1 | x86_64 6.12 |"),
            "{text}"
        );
    }

    #[test]
    fn growth_over_the_slack_fails_and_so_do_unknown_and_lost_programs() {
        let mut table = Table::default();
        table.set("x86_64 6.1", counts(100));
        assert!(table.compare("x86_64 6.1", &counts(120)).is_ok());
        assert!(table.compare("x86_64 6.1", &counts(121)).is_err());
        assert!(
            table
                .compare("x86_64 6.1", &Counts::from([("new".to_owned(), 1)]))
                .is_err()
        );
        assert!(table.compare("x86_64 6.1", &Counts::new()).is_err());
        assert!(table.compare("x86_64 7.9", &counts(9999)).is_ok());
    }
}
