//! `vm`: the agent on other kernels, each booted in QEMU.
//!
//! In: series of Debian's kernels. Out: what passed on each, and how many instructions the verifier looked at. Never:
//! a change to this machine outside the cache and `target`.

mod apt;
mod arch;
mod boot;
mod coverage;
mod cross;
mod fetch;
mod image;
mod insns;
mod offer;

use crate::bpf;
use crate::run::build;
use crate::shell::{cargo, root, run as run_command, say};
use anyhow::{Result, bail};
use arch::{Arch, SERIES};
use boot::Report;
use coverage::Coverage;
use fetch::Kernel;
use insns::Table;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Kernel series such as 6.1, or `newest`; none for all that are supported
    series: Vec<String>,
    #[arg(long, value_enum, default_value = "x86_64")]
    arch: Arch,
    /// Show which kernels the archive has
    #[arg(long)]
    list: bool,
    /// Ask the archive for newer kernels than those in the cache
    #[arg(long)]
    refresh: bool,
    /// Write the verifier's instruction counts to docs/verifier-insns.md, and what was seen to docs/coverage.md
    #[arg(long)]
    write: bool,
    /// Boot nothing: take what the guests of the last run said, which is in target/vm
    #[arg(long)]
    kept: bool,
}

impl Args {
    /// Every supported kernel of the usual machine.
    pub fn all() -> Self {
        Self {
            series: Vec::new(),
            arch: Arch::X86_64,
            list: false,
            refresh: false,
            write: false,
            kept: false,
        }
    }
}

pub fn run(args: &Args) -> Result<()> {
    let store = fetch::Store::new(args.arch);
    if args.list {
        return list(&store);
    }
    let wanted: Vec<String> = if args.series.is_empty() {
        SERIES.iter().map(|&series| series.to_owned()).collect()
    } else {
        args.series.clone()
    };
    let kernels = store.kernels(&wanted, args.refresh)?;
    let initrd = if args.kept {
        PathBuf::new()
    } else {
        image::build(args.arch, &store.busybox()?, &programs(args.arch, &store)?)?
    };
    let mut kept = (Table::read()?, Coverage::read());
    let mut failed = Vec::new();
    for kernel in &kernels {
        match on_kernel(args, kernel, &initrd, &mut kept) {
            Ok(report) => {
                say(&format!(
                    "Linux {}: passed in {} s",
                    kernel.series, report.seconds
                ));
                for again in report.second_tries() {
                    say(&format!("Linux {}: at a second try only: {again}", kernel.series));
                }
            }
            Err(error) => {
                let failure = format!("Linux {}: {error:#}", kernel.series);
                say(&format!("FAILED: {failure}"));
                failed.push(failure);
            }
        }
    }
    if args.write {
        kept.0.write()?;
        kept.1.write()?;
    }
    if !failed.is_empty() {
        // Said once more, since every guest after it has printed its own lines.
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what was asked for")]
fn list(store: &fetch::Store) -> Result<()> {
    for offer in store.offers()? {
        if let Some(newest) = offer.packages.last() {
            println!("{:<6} {:<24} {}", offer.series, newest.version, newest.name);
        }
    }
    Ok(())
}

/// The agent, the program that tests it inside, and a TLS server where there is one with its libraries.
fn programs(arch: Arch, store: &fetch::Store) -> Result<Vec<PathBuf>> {
    const OPENSSL: &str = "/usr/bin/openssl";
    if !arch.is_host() {
        bpf::build_for(arch.name())?;
        return Ok(cross::build(arch, store)?.into());
    }
    let agent = build()?;
    run_command(&mut cargo(&[
        "build",
        "--release",
        "--package",
        "audit-tests",
        "--bin",
        "guest",
    ]))?;
    Ok(vec![agent, root().join("target/release/guest"), OPENSSL.into()])
}

/// Runs the tests on one kernel and compares its instruction counts and what was seen with what the repository keeps.
fn on_kernel(
    args: &Args,
    kernel: &Kernel,
    initrd: &Path,
    (table, coverage): &mut (Table, Coverage),
) -> Result<Report> {
    let report = if args.kept {
        boot::kept(args.arch, kernel)?
    } else {
        boot::boot(args.arch, kernel, initrd)?
    };
    if !report.passed {
        bail!("tests failed:\n{}", report.failures().join("\n"));
    }
    let counts = insns::in_report(&report.lines);
    let column = insns::column(args.arch, &kernel.series);
    let found = coverage::in_report(&report.lines);
    if args.write {
        table.set(&column, counts);
        coverage.set(args.arch, &kernel.series, &found);
    } else {
        table.compare(&column, &counts)?;
        let skipped = coverage::skipped(&report.lines);
        coverage.compare(args.arch, &kernel.series, &found, &skipped)?;
    }
    Ok(report)
}
