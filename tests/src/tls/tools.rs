//! What the servers need from the machine.
//!
//! In: names of programs, sources of servers. Out: where they are. Never: something fetched, unless a package manager
//! does it for a build.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Where servers are that users do not call themselves.
const SYSTEM: &str = "/usr/sbin";

/// Where a program is; the Debian package that has it is named where it is not.
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from(SYSTEM)])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("no program `{name}`; install the package {package}"))
}

/// A file of `tests/tls`.
pub(super) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tls").join(name)
}
