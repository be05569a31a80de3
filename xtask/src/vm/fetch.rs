//! Debian kernels, kept in the user's cache.
//!
//! In: wanted series. Out: a kernel image for each, and a static busybox. Never: anything installed.

use super::apt::Apt;
use super::arch::Arch;
use super::offer::{self, Offer};
use crate::shell::{cache, say};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A kernel in the cache.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub series: String,
    pub image: PathBuf,
}

#[derive(Debug)]
pub struct Store {
    arch: Arch,
    dir: PathBuf,
}

impl Store {
    pub fn new(arch: Arch) -> Self {
        let dir = cache().join("kernels").join(arch.name());
        Self { arch, dir }
    }

    fn apt(&self) -> Result<Apt> {
        Apt::new(&self.dir.join("apt"), self.arch)
    }

    /// What the archive has now, oldest series first.
    pub fn offers(&self) -> Result<Vec<Offer>> {
        say("reading the lists of Debian's kernels");
        let apt = self.apt()?;
        apt.update()?;
        let pattern = format!("^linux-(image|binary)-[0-9].*-cloud-{}$", self.arch.debian());
        offer::newest_of_each(&apt.versions(&pattern)?)
    }

    /// The kernels of the wanted series; the archive is asked only for what is not there, or for everything anew.
    pub fn kernels(&self, wanted: &[String], refresh: bool) -> Result<Vec<Kernel>> {
        // Written last, so that what an interrupted fetch left does not count.
        let have = |series: &String| self.dir.join(series).join("version").exists();
        if !refresh && wanted.iter().all(have) {
            return wanted.iter().map(|series| self.kernel(series)).collect();
        }
        let offers = self.offers()?;
        wanted
            .iter()
            .map(|series| self.fetch(offer::find(&offers, series)?, series))
            .collect()
    }

    /// A static busybox for the guest.
    pub fn busybox(&self) -> Result<PathBuf> {
        let place = self.dir.join("busybox");
        if !place.exists() {
            let files = self.apt()?.unpack("busybox-static")?;
            let found = ["bin/busybox", "usr/bin/busybox"].map(|path| files.join(path));
            let found = found
                .iter()
                .find(|path| path.exists())
                .context("busybox-static without busybox")?;
            fs::copy(found, &place)?;
        }
        Ok(place)
    }

    fn image(&self, series: &str) -> PathBuf {
        self.dir.join(series).join("vmlinuz")
    }

    fn kernel(&self, series: &str) -> Result<Kernel> {
        let real = fs::read_to_string(self.dir.join(series).join("series"))?;
        Ok(Kernel {
            series: real.trim().to_owned(),
            image: self.image(series),
        })
    }

    /// Puts an offered kernel into the cache under the name it was wanted by, unless it is there.
    fn fetch(&self, offer: &Offer, wanted: &str) -> Result<Kernel> {
        let dir = self.dir.join(wanted);
        let known = fs::read_to_string(dir.join("version")).unwrap_or_default();
        if known != offer.version {
            say(&format!("fetching {} {}", offer.package, offer.version));
            let files = self
                .apt()?
                .unpack(&format!("{}={}", offer.package, offer.version))?;
            let image = image_in(&files).with_context(|| format!("{} has no kernel", offer.package))?;
            fs::create_dir_all(&dir)?;
            fs::copy(image, dir.join("vmlinuz"))?;
            fs::write(dir.join("series"), &offer.series)?;
            fs::write(dir.join("version"), &offer.version)?;
        }
        self.kernel(wanted)
    }
}

/// The kernel among a package's files: in `boot`, or beside the modules since 6.19.
fn image_in(files: &Path) -> Option<PathBuf> {
    let mut folders = vec![files.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).ok()?.flatten() {
            if entry.path().is_dir() && !entry.path().is_symlink() {
                folders.push(entry.path());
            } else if entry.file_name().to_string_lossy().starts_with("vmlinuz") {
                return Some(entry.path());
            }
        }
    }
    None
}
