//! What each capture path sees of each way to move bytes, by kernel, against what the repository keeps.
//!
//! In: `CASE path name verdict` and `PATH path absent` lines of a guest. Out: a part of `docs/coverage.md`; a failure
//! when something is seen less than the page says.

use super::arch::Arch;
use super::insns::key;
use crate::shell::root;
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

const BEGIN: &str = "<!-- begin: written by `cargo xtask vm --write` -->";
const END: &str = "<!-- end: written by `cargo xtask vm --write` -->";
/// The page around the part, when there is none yet.
const PAGE: &str = "# What is seen\n\n## Sockets\n\n\
    Ways in which a server can move bytes over a stream socket, by kernel and capture path, as the tests in `tests/src/bin/guest`\n\
    found them. **seen**: records are complete and every hash is right. **declared**: bytes are missing, and signed records say how\n\
    many and why. **-**: this kernel does not have the path.\n\n";

/// How much is seen; more is greater.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    Absent,
    Declared,
    Seen,
}

impl Cell {
    const ALL: [Self; 3] = [Self::Absent, Self::Declared, Self::Seen];

    fn text(self) -> &'static str {
        match self {
            Self::Absent => "-",
            Self::Declared => "declared",
            Self::Seen => "seen",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cell| cell.text() == text)
    }
}

/// A kernel with a path: architecture, version, path.
type Column = ((String, Vec<u64>), String);

/// The page's part.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Coverage {
    /// Names of the cases in the order in which they run.
    rows: Vec<String>,
    cells: BTreeMap<Column, BTreeMap<String, Cell>>,
}

/// What a guest found, by path and case; a path that its kernel lacks has no case.
pub type Found = BTreeMap<String, Vec<(String, Cell)>>;

/// Paths of which the kernel left out runs of programs (`SKIPPED path count`): there a case may be declared that is seen otherwise.
pub fn skipped(lines: &[String]) -> BTreeSet<String> {
    let paths = lines.iter().filter_map(|line| line.strip_prefix("SKIPPED "));
    paths
        .filter_map(|rest| rest.split([' ', ':']).next().map(Into::into))
        .collect()
}

/// The verdicts that a guest printed.
pub fn in_report(lines: &[String]) -> Found {
    let mut found = Found::new();
    for line in lines {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("PATH"), Some(path), Some("absent"), None) => {
                found.entry(path.to_owned()).or_default();
            }
            (Some("CASE"), Some(path), Some(name), Some(verdict)) if name != "log" => {
                let cell = match verdict {
                    "ok" => Cell::Seen,
                    "declared:" => Cell::Declared,
                    _ => continue,
                };
                let cases = found.entry(path.to_owned()).or_default();
                cases.push((name.to_owned(), cell));
            }
            _ => {}
        }
    }
    found
}

fn path() -> PathBuf {
    root().join("docs/coverage.md")
}

/// The cells of a table's row.
fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim().trim_matches('|').split('|').map(str::trim)
}

impl Coverage {
    /// What the repository keeps; nothing when there is no page.
    pub fn read() -> Self {
        Self::parse(&fs::read_to_string(path()).unwrap_or_default())
    }

    /// Writes the part into its page.
    pub fn write(&self) -> Result<()> {
        let page = fs::read_to_string(path()).unwrap_or_else(|_| format!("{PAGE}{BEGIN}\n{END}\n"));
        let (before, rest) = page
            .split_once(BEGIN)
            .context("docs/coverage.md has lost its markers")?;
        let (_, after) = rest
            .split_once(END)
            .context("docs/coverage.md has lost its markers")?;
        let text = format!("{before}{BEGIN}\n{}{END}{after}", self.show());
        Ok(fs::write(path(), text)?)
    }

    /// Replaces what is kept of a kernel.
    pub fn set(&mut self, arch: Arch, series: &str, found: &Found) {
        let kernel = key(&format!("{} {series}", arch.name()));
        self.cells.retain(|(kept, _), _| *kept != kernel);
        for (path, cases) in found {
            for (name, _) in cases {
                if !self.rows.contains(name) {
                    self.rows.push(name.clone());
                }
            }
            let cells = cases.iter().cloned().collect();
            self.cells.insert((kernel.clone(), path.clone()), cells);
        }
        let known = |row: &String| self.cells.values().any(|cells| cells.contains_key(row));
        self.rows.retain(known);
    }

    /// Fails when a cell of a kernel got worse, but for one that is declared by a path of `skipped`.
    pub fn compare(&self, arch: Arch, series: &str, found: &Found, skipped: &BTreeSet<String>) -> Result<()> {
        let kernel = key(&format!("{} {series}", arch.name()));
        let mut worse = Vec::new();
        for ((_, path), kept) in self.cells.iter().filter(|((kept, _), _)| *kept == kernel) {
            let now: BTreeMap<_, _> = found.get(path).into_iter().flatten().cloned().collect();
            for (name, kept) in kept {
                let now = now.get(name).copied().unwrap_or(Cell::Absent);
                let excused = now == Cell::Declared && skipped.contains(path);
                if now < *kept && !excused {
                    worse.push(format!("{name} by {path}: {}, was {}", now.text(), kept.text()));
                }
            }
        }
        if !worse.is_empty() {
            bail!(
                "{}; if that is meant, run `cargo xtask vm --write` and commit the page",
                worse.join("; ")
            );
        }
        Ok(())
    }

    fn parse(text: &str) -> Self {
        let part = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        let mut coverage = Self::default();
        let (mut arch, mut columns) = (String::new(), Vec::new());
        for line in part.map_or("", |(part, _)| part).lines() {
            if let Some(name) = line.strip_prefix("### ") {
                arch = name.to_owned();
            } else if line.starts_with("| case |") {
                columns = cells(line).skip(1).map(|title| column(&arch, title)).collect();
            } else if line.starts_with("| ") {
                coverage.row(line, &columns);
            }
        }
        coverage
    }

    fn row(&mut self, line: &str, columns: &[Column]) {
        let mut cells = cells(line);
        let name = cells.next().unwrap_or_default().to_owned();
        for (column, cell) in columns.iter().zip(cells) {
            let column = self.cells.entry(column.clone()).or_default();
            if let Some(cell) = Cell::parse(cell).filter(|cell| *cell != Cell::Absent) {
                column.insert(name.clone(), cell);
            }
        }
        if !self.rows.contains(&name) {
            self.rows.push(name);
        }
    }

    /// A table for each architecture.
    fn show(&self) -> String {
        let mut text = String::new();
        let mut archs: Vec<&String> = self.cells.keys().map(|((arch, _), _)| arch).collect();
        archs.dedup();
        for arch in archs {
            let columns = || self.cells.iter().filter(|(((of, _), _), _)| of == arch);
            let titles: Vec<String> = columns().map(|(column, _)| title(column)).collect();
            text += &format!("### {arch}\n\n| case | {} |\n|---|", titles.join(" | "));
            text += &"---|".repeat(titles.len());
            for row in &self.rows {
                let cell =
                    |(_, cells): (_, &BTreeMap<String, Cell>)| cells.get(row).map_or("-", |cell| cell.text());
                let cells: Vec<&str> = columns().map(cell).collect();
                text += &format!("\n| {row} | {} |", cells.join(" | "));
            }
            text += "\n\n";
        }
        text
    }
}

fn title(((_, version), path): &Column) -> String {
    let numbers: Vec<String> = version.iter().map(u64::to_string).collect();
    format!("{} {path}", numbers.join("."))
}

fn column(arch: &str, title: &str) -> Column {
    let (series, path) = title.split_once(' ').unwrap_or((title, ""));
    (key(&format!("{arch} {series}")), path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(verdict: &str) -> Found {
        let lines = [
            "PATH fentry absent".into(),
            format!("CASE tracepoint sendfile {verdict}"),
        ];
        in_report(&lines.map(String::from))
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let mut coverage = Coverage::default();
        coverage.set(Arch::X86_64, "6.1", &found("ok"));
        coverage.set(Arch::X86_64, "6.12", &found("declared: 7 bytes"));
        coverage.set(Arch::Aarch64, "6.1", &found("ok"));
        let text = format!("# Other\n{BEGIN}\n{}{END}\nmore\n", coverage.show());
        assert_eq!(Coverage::parse(&text), coverage);
        assert!(
            text.contains("| case | 6.1 fentry | 6.1 tracepoint | 6.12 fentry | 6.12 tracepoint |"),
            "{text}"
        );
        assert!(text.contains("| sendfile | - | seen | - | declared |"), "{text}");
    }

    #[test]
    fn less_than_the_page_says_fails_and_more_does_not() {
        let mut coverage = Coverage::default();
        coverage.set(Arch::X86_64, "6.1", &found("declared: 7 bytes"));
        let none = BTreeSet::new();
        let compare = |verdict| {
            coverage
                .compare(Arch::X86_64, "6.1", &found(verdict), &none)
                .is_ok()
        };
        assert!(compare("ok"));
        assert!(compare("declared: 8 bytes"));
        assert!(!compare("failed: 8 bytes"));
        assert!(coverage.compare(Arch::X86_64, "9.9", &found("ok"), &none).is_ok());
        assert!(
            coverage
                .compare(Arch::X86_64, "6.1", &Found::new(), &none)
                .is_err()
        );
    }

    #[test]
    fn a_path_of_which_runs_were_left_out_may_declare_what_is_seen_otherwise() {
        let mut coverage = Coverage::default();
        coverage.set(Arch::X86_64, "7.2", &found("ok"));
        let lines = [
            "SKIPPED tracepoint 3".to_owned(),
            "SKIPPED fentry: once more".into(),
        ];
        let skipped = skipped(&lines);
        let compare = |verdict| {
            coverage
                .compare(Arch::X86_64, "7.2", &found(verdict), &skipped)
                .is_ok()
        };
        assert!(compare("declared: 8 bytes"));
        assert!(!compare("failed: 8 bytes"));
        let other = BTreeSet::from(["fentry".to_owned()]);
        let found = found("declared: 8 bytes");
        assert!(coverage.compare(Arch::X86_64, "7.2", &found, &other).is_err());
        assert!(skipped.contains("fentry"));
    }
}
