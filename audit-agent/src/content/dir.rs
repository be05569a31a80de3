//! A directory by its descriptor: files in it are made, read and destroyed without a path that could lead elsewhere.
//!
//! In: plain names. Out: files. Never: a link that is followed, a name with a slash; a descriptor that was opened while the
//! agent still had rights goes on working after it dropped them.

use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// An open directory.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// A file's bytes and who owns it.
#[derive(Debug)]
pub struct Owned {
    pub bytes: Vec<u8>,
    pub uid: u32,
}

impl Dir {
    /// Opens `path`, made with `mode` when it is not there.
    pub fn open(path: &Path, mode: u32) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
        Ok(Self(File::open(path)?.into()))
    }

    /// Opens `path`, which must be there.
    pub fn existing(path: &Path) -> io::Result<Self> {
        Ok(Self(File::open(path)?.into()))
    }

    /// Opens the directory `name` in this one, made with `mode` when it is not there.
    pub fn sub(&self, name: &str, mode: u32) -> io::Result<Self> {
        match mkdirat(&self.0, plain(name)?, Mode::from_bits_truncate(mode)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.at(name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, 0).map(Self)
    }

    fn at(&self, name: &str, flags: OFlag, mode: u32) -> io::Result<OwnedFd> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(
            &self.0,
            plain(name)?,
            flags,
            Mode::from_bits_truncate(mode),
        )?)
    }

    /// A new file; it is an error when there is one.
    pub fn create(&self, name: &str, mode: u32) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        self.at(name, flags, mode).map(File::from)
    }

    /// A file with these bytes, durable, in the place of what had its name; whole or not at all.
    pub fn replace(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let new = format!(".{name}.new");
        let _ = self.remove(&new);
        let mut file = self.create(&new, mode)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.and_then(|()| self.rename(&new, name)).inspect_err(|_| {
            let _ = self.remove(&new);
        })
    }

    pub fn open_file(&self, name: &str) -> io::Result<File> {
        self.at(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK, 0)
            .map(File::from)
    }

    /// A regular file of `most` bytes at most.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Owned> {
        let file = self.open_file(name)?;
        let about = file.metadata()?;
        if !about.is_file() || about.len() > most {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Owned {
            bytes,
            uid: about.uid(),
        })
    }

    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, plain(from)?, &self.0, plain(to)?)?)
    }

    pub fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, plain(name)?, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Overwrites and removes; fine when it is gone already. What the disk itself keeps of old blocks is beyond a program.
    pub fn destroy(&self, name: &str) -> io::Result<()> {
        let mut file = match self.at(name, OFlag::O_WRONLY, 0) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.rewind()?;
        io::copy(&mut io::repeat(0).take(length), &mut file)?;
        file.sync_all()?;
        self.remove(name)
    }

    pub fn bytes_of(&self, name: &str) -> io::Result<u64> {
        let about = fstatat(&self.0, plain(name)?, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(u64::try_from(about.st_size).unwrap_or(0))
    }

    /// The names in it, sorted.
    pub fn list(&self) -> io::Result<Vec<String>> {
        let again = openat(
            &self.0,
            ".",
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        let mut dir = nix::dir::Dir::from_fd(again)?;
        let entries = dir.iter().filter_map(Result::ok);
        let names = entries.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let mut names: Vec<_> = names.filter(|name| name != "." && name != "..").collect();
        names.sort();
        Ok(names)
    }

    /// Makes what was created, renamed and removed in it durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(nix::unistd::fsync(self.0.as_fd())?)
    }
}

fn plain(name: &str) -> io::Result<&str> {
    let plain = !name.is_empty() && name != ".." && !name.contains(['/', '\0']);
    if plain {
        Ok(name)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_made_with_their_mode_and_destroyed() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(&place.path().join("a"), 0o700).unwrap();
        let sub = dir.sub("b", 0o700).unwrap();
        sub.replace("key", b"secret", 0o600).unwrap();
        sub.replace("key", b"other", 0o600).unwrap();
        assert_eq!(sub.read("key", 10).unwrap().bytes, b"other");
        assert_eq!(sub.list().unwrap(), ["key"]);
        let mode = std::fs::metadata(place.path().join("a/b/key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        sub.destroy("key").unwrap();
        sub.destroy("key").unwrap();
        assert!(sub.list().unwrap().is_empty());
    }

    #[test]
    fn nothing_leads_out_of_it() {
        let place = tempfile::tempdir().unwrap();
        let dir = Dir::open(place.path(), 0o700).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", place.path().join("link")).unwrap();
        for name in ["../x", "/etc/passwd", "", "..", "link"] {
            assert!(dir.read(name, 1 << 20).is_err(), "{name}");
        }
        assert!(dir.destroy("link").is_err());
        assert!(dir.read("missing", 1).is_err());
    }
}
