//! Debian kernels, kept in the user's cache.
//!
//! In: wanted series. Out: a kernel image for each, and a static busybox. Never: anything installed.

use super::apt::Apt;
use super::arch::Arch;
use super::offer::{self, Offer, Package};
use crate::shell::{cache, say};
use anyhow::{Context, Result, bail};
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
        offer::all(&apt.versions(&pattern)?)
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

    /// The files of a package, fetched once.
    pub fn package(&self, package: &str) -> Result<PathBuf> {
        let apt = self.apt()?;
        match apt.unpacked(package) {
            Some(files) => Ok(files),
            None => apt.unpack(package),
        }
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

    /// Puts the newest kernel of an offer into the cache under the name it was wanted by, unless it is there. Lists may
    /// name what the archive has dropped, so an older one is the next best.
    fn fetch(&self, offer: &Offer, wanted: &str) -> Result<Kernel> {
        let known = fs::read_to_string(self.dir.join(wanted).join("version")).unwrap_or_default();
        let mut last = None;
        for package in offer.packages.iter().rev() {
            if known == package.version {
                return self.kernel(wanted);
            }
            match self.unpack(package) {
                Ok(image) => return self.keep(&image, offer, package, wanted),
                Err(error) => say(&format!("{error:#}")),
            }
            last = Some(package);
        }
        let oldest = last.map_or("", |package| &package.version);
        bail!("no kernel {} could be fetched, down to {oldest}", offer.series)
    }

    fn unpack(&self, package: &Package) -> Result<PathBuf> {
        let Package { name, version } = package;
        say(&format!("fetching {name} {version}"));
        let files = self.apt()?.unpack(&format!("{name}={version}"))?;
        image_in(&files).with_context(|| format!("{name} has no kernel"))
    }

    fn keep(&self, image: &Path, offer: &Offer, package: &Package, wanted: &str) -> Result<Kernel> {
        let dir = self.dir.join(wanted);
        fs::create_dir_all(&dir)?;
        fs::copy(image, dir.join("vmlinuz"))?;
        fs::write(dir.join("series"), &offer.series)?;
        fs::write(dir.join("version"), &package.version)?;
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
