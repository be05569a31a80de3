//! `build` and `run`.

use crate::bpf;
use crate::shell::{as_root, cargo, root, run as run_command, say};
use anyhow::{Context, Result};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// Builds the kernel programs and the agent; gives the agent's path.
pub fn build() -> Result<PathBuf> {
    bpf::build()?;
    run_command(&mut cargo(&["build", "--release", "--package", "audit-agent"]))?;
    Ok(root().join("target/release/audit-agent"))
}

/// Builds, then becomes the agent.
pub fn run(args: &[String]) -> Result<()> {
    let agent = build()?;
    mount("bpf", "/sys/fs/bpf");
    mount("tracefs", "/sys/kernel/tracing");
    say("starting the agent; Ctrl-C ends it");
    let error = as_root(&agent.to_string_lossy()).arg("run").args(args).exec();
    Err(error).with_context(|| format!("cannot start {}; is sudo there?", agent.display()))
}

/// Mounts what a minimal system has not; the agent says what it lacks if this fails.
fn mount(kind: &str, place: &str) {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().any(|line| line.split(' ').nth(1) == Some(place));
    if !mounted && Path::new(place).exists() {
        say(&format!("mounting {kind} on {place}"));
        if let Err(error) = run_command(as_root("mount").args(["-t", kind, kind, place])) {
            say(&format!("{error}; going on without"));
        }
    }
}
