//! `test`: everything that passes or fails.

use crate::shell::{cargo, is_root, root, run as run_command, say};
use crate::{bpf, run as build};
use anyhow::Result;
use std::path::Path;

/// Runs all tests. What this machine cannot run is said at the end, with the reason.
pub fn run_all(require_live: bool) -> Result<()> {
    run_command(&mut cargo(&[
        "test",
        "--workspace",
        "--exclude",
        "audit-ebpf",
        "--exclude",
        "audit-tests",
    ]))?;
    let mut whole = cargo(&["test", "--package", "audit-tests"]);
    whole.env("AUDIT_AGENT_BIN", root().join("target/release/audit-agent"));
    if require_live {
        whole.env("AUDIT_AGENT_REQUIRE_LIVE", "1");
    }
    run_command(&mut whole)
}

pub fn run() -> Result<()> {
    let why_not = cannot_capture();
    match &why_not {
        None => {
            build::build()?;
        }
        Some(_) => {
            // The command line is tested all the same; the programs are embedded where they can be built.
            if let Err(error) = bpf::build() {
                say(&format!("the kernel programs could not be built: {error}"));
            }
            run_command(&mut cargo(&["build", "--release", "--package", "audit-agent"]))?;
        }
    }
    run_all(why_not.is_none())?;
    if let Some(why) = why_not {
        say(&format!(
            "skipped: the tests on the kernel and on a real server: {why}"
        ));
    }
    Ok(())
}

/// Why tests that capture cannot run here, if they cannot.
pub fn cannot_capture() -> Option<&'static str> {
    if !is_root() {
        Some("they need root: run `sudo -E cargo xtask test`")
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        Some("this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)")
    } else {
        None
    }
}
