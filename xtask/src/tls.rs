//! `tls-coverage`: what is seen of TLS servers on this host, as a table in `docs/coverage.md`.
//!
//! In: the test that runs every server with every client. Out: the part of the page between its markers. Never: a row that no
//! test has shown now.

use crate::run::build;
use crate::shell::{cargo, root, run as run_command};
use anyhow::{Context, Result, ensure};
use std::fs;

const BEGIN: &str = "<!-- begin: written by `cargo xtask tls-coverage` -->";
const END: &str = "<!-- end: written by `cargo xtask tls-coverage` -->";

/// Runs the test and writes the table.
pub fn run() -> Result<()> {
    let agent = build()?;
    let report = root().join("target/tls-report");
    let _ = fs::remove_file(&report);
    let mut test = cargo(&["test", "--package", "audit-tests", "--test", "tls_capture"]);
    test.env("AUDIT_AGENT_BIN", agent)
        .env("AUDIT_AGENT_REQUIRE_LIVE", "1")
        .env("AUDIT_AGENT_TLS_REPORT", &report);
    run_command(&mut test)?;
    let found = fs::read_to_string(&report).context("the test has reported nothing")?;
    let page = root().join("docs/coverage.md");
    let text = fs::read_to_string(&page)?;
    Ok(fs::write(page, replaced(&text, &table(&found)?)?)?)
}

/// Lines of four cells each, parted by tabs, as a table in an order that does not depend on which test was first.
fn table(found: &str) -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let series: Vec<&str> = release.trim().splitn(3, '.').take(2).collect();
    let mut rows: Vec<String> = found
        .lines()
        .map(|line| format!("| {} |\n", line.replace('\t', " | ")))
        .collect();
    rows.sort();
    ensure!(!rows.is_empty(), "the test has reported nothing");
    let title = format!("On {}, tracepoint path.\n\n", series.join("."));
    let head = "| server | library | older than the agent | younger |\n|---|---|---|---|\n";
    Ok(format!("{title}{head}{}\n", rows.concat()))
}

fn replaced(page: &str, table: &str) -> Result<String> {
    let lost = || format!("docs/coverage.md has lost `{BEGIN}` or its end");
    let (before, rest) = page.split_once(BEGIN).with_context(lost)?;
    let (_, after) = rest.split_once(END).with_context(lost)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_the_rest_of_the_page_stays() -> Result<()> {
        let table = table("b\tx\tseen\tseen\na\ty\tseen\tdeclared\n")?;
        let page = replaced(&format!("# A\n{BEGIN}\ngone\n{END}\n# B\n"), &table)?;
        ensure!(page.starts_with("# A\n") && page.ends_with("# B\n") && !page.contains("gone"));
        ensure!(
            page.contains("| a | y | seen | declared |\n| b | x | seen | seen |\n"),
            "{page}"
        );
        Ok(())
    }
}
