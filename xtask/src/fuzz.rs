//! `fuzz`: every target of `audit-agent/fuzz` for some seconds.

use crate::shell::{root, run as run_command};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// Coverage counters without a sanitizer: stable compilers have these flags, and what is fuzzed has no `unsafe`.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Ccodegen-units=1 -Coverflow-checks -Cdebug-assertions";

pub fn run(seconds: u32) -> Result<()> {
    let fuzz = root().join("audit-agent/fuzz");
    let host = crate::shell::output("rustc", &["-vV"]).unwrap_or_default();
    let host = host
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?
        .to_owned();
    let mut build = Command::new("cargo");
    build
        .args([
            "build",
            "--release",
            "--bins",
            "--target",
            &host,
            "--manifest-path",
        ])
        .arg(fuzz.join("Cargo.toml"));
    run_command(build.env("RUSTFLAGS", FLAGS))?;
    for entry in fs::read_dir(fuzz.join("fuzz_targets"))?.flatten() {
        let name = entry
            .file_name()
            .to_string_lossy()
            .trim_end_matches(".rs")
            .to_owned();
        let corpus = root().join("target/fuzz-corpus").join(&name);
        fs::create_dir_all(&corpus)?;
        let mut target = Command::new(fuzz.join("target").join(&host).join("release").join(&name));
        target.arg(&corpus).arg(format!("-max_total_time={seconds}"));
        // Read after the corpus, and never written to.
        let seeds = fuzz.join("seeds").join(&name);
        if seeds.is_dir() {
            target.arg(seeds);
        }
        // Inputs that fail go beside the corpus, not into the working tree.
        target.arg(format!("-artifact_prefix={}-found-", corpus.display()));
        target.args([
            "-rss_limit_mb=2048",
            "-timeout=10",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        run_command(&mut target)?;
    }
    Ok(())
}
