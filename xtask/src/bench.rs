//! `bench`: the measurements of `benches/`, on a release build.

use crate::run::build;
use crate::shell::{cargo, run as run_command};
use anyhow::Result;

pub fn run(args: &[String]) -> Result<()> {
    let agent = build()?;
    let mut bench = cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "audit-benches",
        "--bin",
        "bench",
        "--",
    ]);
    run_command(bench.args(args).env("AUDIT_AGENT_BIN", agent))
}
