//! A compiler and a linker for the BPF target: found, or installed.
//!
//! Two ways: a rustup nightly with `rust-src`, or Debian's own compiler with its library source. Both need
//! bpf-linker for the same LLVM as the compiler. What is installed is said before.

use crate::shell::{as_root, cache, is_root, output, run, say};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const LINKER_VERSION: &str = "0.13.0";
/// What the Debian way needs, and bpf-linker for it.
const DEBIAN_PACKAGES: &[&str] = &[
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "llvm-22-dev",
    "libpolly-22-dev",
    "libzstd-dev",
    "zlib1g-dev",
    "gcc",
    "libc6-dev",
];
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// How to call cargo for the BPF target.
#[derive(Debug)]
pub struct Toolchain {
    pub cargo: Vec<String>,
    pub rustc: Option<PathBuf>,
    pub linker: PathBuf,
}

/// Finds a toolchain, or installs one.
pub fn find_or_install() -> Result<Toolchain> {
    if let Some(found) = rustup() {
        return Ok(found);
    }
    if !debian_is_there() {
        install_debian()?;
    }
    if !debian_is_there() {
        bail!(
            "Debian's compiler was installed and still lacks library source; run `apt-get install rust-web-src`"
        );
    }
    let (cargo, rustc) = (
        vec!["/usr/bin/cargo".to_owned()],
        Some(PathBuf::from("/usr/bin/rustc")),
    );
    Ok(Toolchain {
        cargo,
        rustc,
        linker: debian_linker()?,
    })
}

/// A nightly that has the library's source, with a bpf-linker on the path.
fn rustup() -> Option<Toolchain> {
    let sysroot = output("rustup", &["run", "nightly", "rustc", "--print", "sysroot"])?;
    if !Path::new(&sysroot)
        .join("lib/rustlib/src/rust/library/core")
        .exists()
    {
        return None;
    }
    output("bpf-linker", &["--version"])?;
    let cargo = ["rustup", "run", "nightly", "cargo"].map(str::to_owned).to_vec();
    Some(Toolchain {
        cargo,
        rustc: None,
        linker: PathBuf::from("bpf-linker"),
    })
}

fn debian_is_there() -> bool {
    let source = Path::new("/usr/lib/rustlib/src/rust/library/core").exists();
    let llvm22 = output("/usr/bin/rustc", &["-vV"]).is_some_and(|text| text.contains("LLVM version: 22"));
    source && llvm22 && Path::new(LLVM_PREFIX).join("lib/libLLVM.so").exists()
}

fn install_debian() -> Result<()> {
    let by_hand =
        "with rustup: `rustup toolchain install nightly --component rust-src` and `cargo install bpf-linker`";
    if output("apt-get", &["--version"]).is_none() {
        bail!("no compiler for the BPF target and no apt-get to install one; {by_hand}");
    }
    if !is_root() && output("sudo", &["--version"]).is_none() {
        bail!(
            "installing packages needs root: run `apt-get install {}` as root, or {by_hand}",
            DEBIAN_PACKAGES.join(" ")
        );
    }
    say(&format!(
        "installing the BPF compiler: {}",
        DEBIAN_PACKAGES.join(" ")
    ));
    run(as_root("apt-get").args(["update", "-qq"]))?;
    let mut install = as_root("apt-get");
    install
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(DEBIAN_PACKAGES);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
        .with_context(|| format!("this release may not have them; {by_hand}"))
}

/// The cached bpf-linker for LLVM 22, compiled when it is not there.
fn debian_linker() -> Result<PathBuf> {
    let place = cache().join("bpf-toolchain");
    let linker = place.join("bin/bpf-linker");
    if output(&linker.to_string_lossy(), &["--version"]).is_some() {
        return Ok(linker);
    }
    say(&format!(
        "compiling bpf-linker {LINKER_VERSION} into {} (a minute)",
        place.display()
    ));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut install = Command::new("cargo");
    install.args([
        "install",
        "bpf-linker",
        "--version",
        LINKER_VERSION,
        "--locked",
        "--no-default-features",
    ]);
    install.args(["--features", "llvm-22", "--root"]).arg(&place);
    // All three: the linker's build and llvm-sys each look in their own way, and find an older LLVM otherwise.
    install
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX);
    install.env("PATH", format!("{LLVM_PREFIX}/bin:{path}"));
    run(&mut install)?;
    Ok(linker)
}
