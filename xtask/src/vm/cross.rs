//! Static programs for another machine.
//!
//! In: a compiler that has that machine's standard library, of rustup or of Debian; a cross linker. Out: the agent and
//! the test driver. Never: anything installed; what is missing is named.

use super::arch::Arch;
use super::fetch::Store;
use crate::shell::{cargo, output, root, run};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn build(arch: Arch, store: &Store) -> Result<[PathBuf; 2]> {
    let (name, linker) = (arch.name(), format!("{}-linux-gnu-gcc", arch.name()));
    if output(&linker, &["--version"]).is_none() {
        let debian = arch.debian();
        bail!("no linker for {name}: `apt-get install gcc-{name}-linux-gnu libc6-dev-{debian}-cross`");
    }
    let triple = format!("{name}-unknown-linux-gnu");
    let target = root().join("target").join(name);
    let mut build = compiler(arch, store, &triple)?;
    build.args(["--package", "audit-agent", "--package", "audit-tests"]);
    build.args(["--bin", "audit-agent", "--bin", "guest", "--target", &triple]);
    let variable = triple.to_uppercase().replace('-', "_");
    build.env(format!("CARGO_TARGET_{variable}_LINKER"), linker);
    run(build.arg("--target-dir").arg(&target))?;
    let made = target.join(triple).join("release");
    Ok(["audit-agent", "guest"].map(|name| made.join(name)))
}

/// `cargo build` of rustup when it has the target, else of Debian with a library from the archive.
fn compiler(arch: Arch, store: &Store, triple: &str) -> Result<Command> {
    let library = output("rustc", &["--print", "target-libdir", "--target", triple]);
    let (mut build, mut flags) = if library.is_some_and(|folder| Path::new(&folder).exists()) {
        (cargo(&[]), Vec::new())
    } else {
        let sysroot = debian_library(arch, store, triple)?;
        let mut build = Command::new("/usr/bin/cargo");
        build.env("RUSTC", "/usr/bin/rustc");
        // What rustup and the outer cargo set would choose another compiler.
        for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WORKSPACE_WRAPPER"] {
            build.env_remove(name);
        }
        (build, vec![format!("--sysroot={}", sysroot.display())])
    };
    flags.push("-Ctarget-feature=+crt-static".into());
    build.args(["build", "--release"]);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    Ok(build)
}

/// The standard library for `arch` that fits Debian's compiler on this machine.
fn debian_library(arch: Arch, store: &Store, triple: &str) -> Result<PathBuf> {
    let by_hand = format!("with rustup: `rustup target add {triple}`");
    let version = output("dpkg-query", &["-W", "-f=${Version}", "rustc-web"])
        .with_context(|| format!("no compiler for {}; {by_hand}", arch.name()))?;
    let package = format!("libstd-rust-web-dev={version}");
    let files = store.package(&package);
    let files = files.with_context(|| format!("Debian has no {package} for {}; {by_hand}", arch.debian()))?;
    Ok(files.join("usr"))
}
