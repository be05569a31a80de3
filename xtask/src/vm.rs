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
    let initrd = image::build(args.arch, &store.busybox()?, &programs(args.arch, &store)?)?;
    let mut kept = (Table::read()?, Coverage::read());
    let mut failed = Vec::new();
    for kernel in &kernels {
        match on_kernel(args, kernel, &initrd, &mut kept) {
            Ok(report) => say(&format!(
                "Linux {}: passed in {} s",
                kernel.series, report.seconds
            )),
            Err(error) => {
                say(&format!("Linux {}: FAILED: {error:#}", kernel.series));
                failed.push(kernel.series.as_str());
            }
        }
    }
    if args.write {
        kept.0.write()?;
        kept.1.write()?;
    }
    if !failed.is_empty() {
        bail!("failed on Linux {}", failed.join(", "));
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

/// The agent and the program that tests it inside.
fn programs(arch: Arch, store: &fetch::Store) -> Result<[PathBuf; 2]> {
    if !arch.is_host() {
        bpf::build_for(arch.name())?;
        return cross::build(arch, store);
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
    Ok([agent, root().join("target/release/guest")])
}

/// Runs the tests on one kernel and compares its instruction counts and what was seen with what the repository keeps.
fn on_kernel(
    args: &Args,
    kernel: &Kernel,
    initrd: &Path,
    (table, coverage): &mut (Table, Coverage),
) -> Result<Report> {
    let report = boot::boot(args.arch, kernel, initrd)?;
    if !report.passed {
        bail!("tests failed, see above");
    }
    let counts = insns::in_report(&report.lines);
    let column = insns::column(args.arch, &kernel.series);
    let found = coverage::in_report(&report.lines);
    if args.write {
        table.set(&column, counts);
        coverage.set(args.arch, &kernel.series, &found);
    } else {
        table.compare(&column, &counts)?;
        coverage.compare(args.arch, &kernel.series, &found)?;
    }
    Ok(report)
}
