//! The BPF object: built when its sources are newer, embedded by the agent's build.

use crate::shell::{root, run, say};
use crate::toolchain;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// What the object is made of, and by what.
const SOURCES: &[&str] = &[
    "audit-ebpf",
    "audit-common",
    "Cargo.toml",
    "Cargo.lock",
    "xtask/src/bpf.rs",
];

/// With type information; and with memset and memcpy in place: as functions they are calls inside BPF, which arm64
/// before Linux 6.0 does not allow in a program that has tail calls.
const LINKER_ARGS: &[&str] = &["-Clink-arg=--btf", "-Clink-arg=--disable-expand-memcpy-in-order"];

/// Makes the object for this machine current.
pub fn build() -> Result<PathBuf> {
    build_for(std::env::consts::ARCH)
}

/// Makes `target/bpf/<arch>/audit-ebpf.o` current. The instructions are the same everywhere; the registers that uprobes
/// read are not.
pub fn build_for(arch: &str) -> Result<PathBuf> {
    let folder = root().join("target/bpf").join(arch);
    let object = folder.join("audit-ebpf.o");
    let made = fs::metadata(&object)
        .and_then(|meta| meta.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH);
    if newest_source() < made {
        say("the kernel programs are current");
        return Ok(object);
    }
    let found = toolchain::find_or_install()?;
    let target = root().join("target/bpf-build").join(arch);
    let [program, args @ ..] = found.cargo.as_slice() else {
        anyhow::bail!("no cargo for the BPF target")
    };
    let mut cargo = Command::new(program);
    cargo.args(args).args([
        "build",
        "--release",
        "--package",
        "audit-ebpf",
        "--target",
        "bpfel-unknown-none",
    ]);
    cargo.args(["-Z", "build-std=core"]);
    // What rustup and the outer cargo set would choose another compiler.
    for name in [
        "CARGO",
        "RUSTC",
        "RUSTUP_TOOLCHAIN",
        "RUSTDOC",
        "CARGO_MANIFEST_DIR",
        "RUSTC_WORKSPACE_WRAPPER",
    ] {
        cargo.env_remove(name);
    }
    if let Some(rustc) = &found.rustc {
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
    }
    let linker = format!("-Clinker={}", found.linker.display());
    let registers = format!("--cfg=bpf_target_arch=\"{arch}\"");
    let mut flags = vec![linker.as_str(), "-Cdebuginfo=2", registers.as_str()];
    flags.extend(LINKER_ARGS);
    let flags = flags.join("\u{1f}");
    run(cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("CARGO_TARGET_DIR", &target))?;
    let built = target.join("bpfel-unknown-none/release/audit-ebpf");
    fs::create_dir_all(&folder)?;
    fs::copy(&built, &object).with_context(|| format!("cannot copy {}", built.display()))?;
    Ok(object)
}

fn newest_source() -> SystemTime {
    SOURCES
        .iter()
        .map(|path| newest(&root().join(path)))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The newest change in a file or below a folder; now when it cannot be told.
#[expect(clippy::disallowed_methods, reason = "a build has to know what is newer")]
fn newest(path: &Path) -> SystemTime {
    let now = SystemTime::now();
    let Ok(meta) = fs::metadata(path) else { return now };
    if meta.is_file() {
        return meta.modified().unwrap_or(now);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| newest(&entry.path()))
        .max()
        .unwrap_or(SystemTime::UNIX_EPOCH)
}
