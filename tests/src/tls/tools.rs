//! What the servers need from the machine.
//!
//! In: names of programs, sources of servers. Out: where they are; what is built is kept in the user's cache folder, once
//! for each state of its source. Never: something fetched, unless a package manager does it for a build.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where servers are that users do not call themselves.
const SYSTEM: &str = "/usr/sbin";
/// How much of a hash is in a folder's name.
const KEY_BYTES: usize = 8;

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

/// Where what is built here is kept.
pub(super) fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(home)
        .context("neither XDG_CACHE_HOME nor HOME is set")?
        .join("audit-agent/tls");
    std::fs::create_dir_all(&cache)?;
    Ok(cache)
}

/// How a server is built.
#[derive(Debug)]
pub(super) struct Recipe<'a> {
    /// Files of `tests/tls`; the build sees copies of these in its current folder and nothing else.
    pub files: &'a [&'a str],
    /// Where the build leaves the executable.
    pub product: &'a str,
}

impl Recipe<'_> {
    /// The executable; `command` is run where it has not been made of this source yet.
    pub fn follow(&self, mut command: Command) -> Result<PathBuf> {
        let name = Path::new(self.product)
            .file_name()
            .context("a product has a name")?;
        let kept = cache()?.join(format!("{}-{}", name.display(), self.key(&command)?));
        let path = kept.join(name);
        if path.exists() {
            return Ok(path);
        }
        let folder = tempfile::tempdir_in(cache()?)?;
        self.copy_files(folder.path())?;
        let output = command.current_dir(folder.path()).output();
        let output = output.with_context(|| format!("running {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        // Renamed into place, so that a second test never starts half a program.
        let finished = tempfile::tempdir_in(cache()?)?;
        std::fs::rename(folder.path().join(self.product), finished.path().join(name))?;
        let moved = std::fs::rename(finished.path(), &kept);
        if !path.exists() {
            moved.with_context(|| format!("keeping {path:?}"))?;
        }
        Ok(path)
    }

    /// Of the sources and of how they are built.
    fn key(&self, command: &Command) -> Result<String> {
        let mut hash = Sha256::new();
        for file in self.files {
            hash.update(std::fs::read(source(file)).with_context(|| format!("reading {file}"))?);
        }
        hash.update(format!("{:?}", command.get_args()));
        let hash = hash.finalize();
        Ok(hash[..KEY_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect())
    }

    fn copy_files(&self, to: &Path) -> Result<()> {
        for file in self.files {
            let copy = to.join(file);
            std::fs::create_dir_all(copy.parent().context("a file is in a folder")?)?;
            std::fs::copy(source(file), copy)?;
        }
        Ok(())
    }
}
