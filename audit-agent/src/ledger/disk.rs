//! What the log does to its directory, step by step, so that a test can stop it after any of them.
//!
//! In: names below one directory. Out: bytes. Nothing is durable before it was synchronised: a file's content by
//! [`Disk::sync`], its name by [`Disk::sync_dir`].

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Reads a directory with files in it. Names are relative, parts divided by `/`.
pub trait Read: std::fmt::Debug {
    /// A whole file; None when there is none.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>>;
    /// The names in a directory, in order; none when there is no directory.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;
    /// Length of a file; None when there is none.
    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        Ok(self.read(name)?.map(|bytes| bytes.len() as u64))
    }
}

impl<D: Read> Read for &D {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        (**self).read(name)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        (**self).list(dir)
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        (**self).size(name)
    }
}

/// Writes a directory with files in it.
pub trait Disk: Read {
    /// Writes behind the end of a file, which is made when it is not there; gives how many bytes went in.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize>;
    /// Makes a file of just these bytes, over what it had.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;
    /// Makes what is in a file durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Makes a directory and those above it; they are durable when this returns.
    fn make_dir(&mut self, dir: &str) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&mut self, dir: &str) -> io::Result<()>;

    /// Replaces a file as a whole: whoever looks, after whatever interruption, finds the old or the new one.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        self.write(&new, bytes)?;
        self.sync(&new)?;
        self.rename(&new, name)?;
        self.sync_dir(parent(name))
    }
}

/// The directory part of a name; empty at the top.
pub fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

/// A directory of this machine. Files are for the agent to write and for its group to read.
#[derive(Debug)]
pub struct DirDisk {
    dir: PathBuf,
    /// Of new files and of new directories.
    modes: (u32, u32),
    /// The file that was appended to last.
    open: Option<(String, File)>,
}

impl DirDisk {
    /// The log's: written by the agent, read by its group.
    pub fn new(dir: &Path) -> Self {
        Self {
            dir: dir.into(),
            modes: (0o640, 0o750),
            open: None,
        }
    }

    /// For keys: for the agent alone.
    pub fn secret(dir: &Path) -> Self {
        Self {
            modes: (0o600, 0o700),
            ..Self::new(dir)
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn close(&mut self, name: &str) {
        if self.open.as_ref().is_some_and(|(open, _)| open == name) {
            self.open = None;
        }
    }
}

impl Read for DirDisk {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.path(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(self.path(dir)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names = names.collect::<io::Result<Vec<String>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match std::fs::metadata(self.path(name)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Disk for DirDisk {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            let mut options = OpenOptions::new();
            let file = options
                .create(true)
                .append(true)
                .mode(self.modes.0)
                .open(self.path(name))?;
            self.open = Some((name.into(), file));
        }
        match &mut self.open {
            Some((_, file)) => file.write(bytes),
            None => Ok(0),
        }
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.close(name);
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .write(true)
            .truncate(false)
            .mode(self.modes.0)
            .open(self.path(name))?;
        // In place, so that what was there is overwritten and not only let go.
        file.write_all(bytes)?;
        file.set_len(bytes.len() as u64)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path(name))?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match &self.open {
            Some((open, file)) if open == name => file.sync_data(),
            _ => File::open(self.path(name))?.sync_all(),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.close(from);
        self.close(to);
        std::fs::rename(self.path(from), self.path(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.close(name);
        std::fs::remove_file(self.path(name))
    }

    fn make_dir(&mut self, dir: &str) -> io::Result<()> {
        if self.path(dir).is_dir() {
            return Ok(());
        }
        if !dir.is_empty() {
            self.make_dir(parent(dir))?;
        }
        DirBuilder::new()
            .recursive(true)
            .mode(self.modes.1)
            .create(self.path(dir))?;
        if dir.is_empty() {
            Ok(())
        } else {
            self.sync_dir(parent(dir))
        }
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        File::open(self.path(dir))?.sync_all()
    }
}
