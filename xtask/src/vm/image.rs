//! The guest's whole file system: one archive in memory.
//!
//! In: a static busybox, the programs to run. Out: an initrd. Never: a disk, a network, anything of the host but the
//! shared libraries that the programs ask for.

use super::apt::text;
use super::arch::Arch;
use crate::shell::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INIT: &str = include_str!("init.sh");

/// Packs `programs` into the guest's `/bin` and gives the archive.
pub fn build(arch: Arch, busybox: &Path, programs: &[PathBuf]) -> Result<PathBuf> {
    let dir = root().join("target/vm").join(arch.name());
    let guest = dir.join("root");
    if guest.exists() {
        fs::remove_dir_all(&guest)?;
    }
    for folder in ["bin", "dev", "etc", "proc", "root", "run", "sys", "tmp"] {
        fs::create_dir_all(guest.join(folder))?;
    }
    fs::write(guest.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(guest.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")?;
    fs::write(guest.join("init"), INIT.replace("@PORT@", arch.ports().1))?;
    fs::set_permissions(guest.join("init"), fs::Permissions::from_mode(0o755))?;
    place(busybox, &guest.join("bin/busybox"))?;
    for program in programs {
        let name = program.file_name().context("a program has a name")?;
        place(program, &guest.join("bin").join(name))?;
        for library in libraries(arch, program)? {
            let inside = library.strip_prefix("/").unwrap_or(&library);
            place(&library, &guest.join(inside))?;
        }
    }
    pack(&guest, &dir.join("initrd"))
}

fn place(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The shared libraries and the loader that a program of this machine needs; none for a static one.
fn libraries(arch: Arch, program: &Path) -> Result<Vec<PathBuf>> {
    if !arch.is_host() {
        return Ok(Vec::new());
    }
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot run ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(words.map(PathBuf::from).collect())
}

fn pack(guest: &Path, archive: &Path) -> Result<PathBuf> {
    let names = text(Command::new("find").arg(".").current_dir(guest))?;
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--quiet"]);
    let mut cpio = cpio
        .current_dir(guest)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(archive)?)
        .spawn()
        .context("cannot run cpio; `apt-get install cpio`")?;
    if let Some(mut stdin) = cpio.stdin.take() {
        std::io::Write::write_all(&mut stdin, names.as_bytes())?;
    }
    let status = cpio.wait()?;
    if !status.success() {
        bail!("cpio ended with {status}");
    }
    Ok(archive.to_path_buf())
}
