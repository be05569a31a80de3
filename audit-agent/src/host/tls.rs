//! TLS libraries of a process: where they are, and what has to be probed to see their plaintext.
//!
//! In: a pid. Out: each library that is mapped to be executed, the process's own executable included, with the file
//! offsets of its functions, or why it cannot be seen into. Files are opened through `/proc/PID/map_files`, so that a
//! container's library, and one that was replaced on disk, is the one that runs. Never: a file read twice for the same
//! inode; an error on a file that is no ELF.

mod elf;
mod go;
mod places;

pub use elf::{Function, Site};

use crate::event::TlsLibrary;
use procfs::process::{MMPermissions, MMapPath, Process};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files whose findings are remembered.
const REMEMBERED: usize = 4096;

/// A file as the kernel knows it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

/// What one file has of TLS.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// `openssl`, `boringssl`, `gnutls`, `go`, `rustls`.
    pub library: &'static str,
    pub version: Option<String>,
    /// What to probe; empty when it cannot be seen into.
    pub sites: Vec<Site>,
    /// Why not.
    pub problem: Option<&'static str>,
}

/// A file with TLS that a process runs.
#[derive(Debug)]
pub struct Library {
    pub id: FileId,
    /// As the process sees it, for records.
    pub path: PathBuf,
    /// A way to open it that leads to the very inode.
    pub open: PathBuf,
    pub found: Found,
}

impl Library {
    pub fn fact(&self) -> TlsLibrary {
        TlsLibrary {
            path: self.path.to_string_lossy().into_owned(),
            library: self.found.library.into(),
            version: self.found.version.clone(),
            problem: self.found.problem.map(Into::into),
        }
    }
}

/// Remembers what files had.
#[derive(Debug, Default)]
pub struct Scanner {
    known: HashMap<FileId, Option<Found>>,
}

impl Scanner {
    /// The TLS libraries that `pid` has mapped now; none when it has ended.
    pub fn libraries(&mut self, pid: u32) -> Vec<Library> {
        let mut libraries: Vec<Library> = executables(pid)
            .into_iter()
            .filter_map(|(id, (path, open))| {
                let found = self.found(id, &open)?;
                Some(Library {
                    id,
                    path,
                    open,
                    found,
                })
            })
            .collect();
        // libssl names its release only through libcrypto, which stands beside it.
        let crypto = libraries.iter().find_map(|library| {
            (library.found.sites.is_empty() && library.found.problem.is_none())
                .then(|| library.found.version.clone())
                .flatten()
        });
        libraries.retain(|library| !library.found.sites.is_empty() || library.found.problem.is_some());
        for library in &mut libraries {
            if library.found.library == "openssl" && library.found.version.is_none() {
                library.found.version.clone_from(&crypto);
            }
        }
        libraries
    }

    fn found(&mut self, id: FileId, open: &PathBuf) -> Option<Found> {
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let found = File::open(open).ok().and_then(|file| elf::examine(&file));
        self.known.insert(id, found.clone());
        found
    }
}

/// The files that are mapped to be executed: path in the process's view, and a path that opens the mapped inode.
fn executables(pid: u32) -> BTreeMap<FileId, (PathBuf, PathBuf)> {
    let mut files = BTreeMap::new();
    let maps = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok())
        .and_then(|process| process.maps().ok());
    for map in maps.into_iter().flatten() {
        let MMapPath::Path(path) = map.pathname else {
            continue;
        };
        if !map.perms.contains(MMPermissions::EXECUTE) {
            continue;
        }
        let (start, end) = map.address;
        let mapped = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
        let Some((mapped, meta)) = reach(pid, mapped, &path, map.inode) else {
            continue;
        };
        let id = FileId {
            device: meta.dev(),
            inode: meta.ino(),
        };
        files.entry(id).or_insert((path, mapped));
    }
    files
}

/// Following `map_files` takes CAP_CHECKPOINT_RESTORE (before Linux 5.9 CAP_SYS_ADMIN). Without it the path in the process's
/// view does, as long as it still leads to the mapped inode.
fn reach(pid: u32, mapped: PathBuf, path: &Path, inode: u64) -> Option<(PathBuf, Metadata)> {
    if let Ok(meta) = std::fs::metadata(&mapped) {
        return Some((mapped, meta));
    }
    let inside = PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").ok()?);
    let meta = std::fs::metadata(&inside).ok()?;
    (meta.ino() == inode).then_some((inside, meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_tls_has_no_libraries() {
        let mut scanner = Scanner::default();
        let found = scanner.libraries(std::process::id());
        assert!(
            found.iter().all(|library| library.found.sites.is_empty()),
            "{found:?}"
        );
    }

    #[test]
    fn without_map_files_a_path_is_taken_only_while_it_leads_to_the_mapped_file() {
        let (pid, path) = (std::process::id(), std::env::current_exe().unwrap());
        let inode = std::fs::metadata(&path).unwrap().ino();
        let nowhere = || PathBuf::from("/proc/none");
        let (open, _) = reach(pid, nowhere(), &path, inode).unwrap();
        assert!(open.starts_with(format!("/proc/{pid}/root")));
        assert!(reach(pid, nowhere(), &path, inode + 1).is_none());
        assert!(reach(pid, nowhere(), Path::new("[vdso]"), inode).is_none());
    }

    #[test]
    fn a_process_that_is_not_there_has_no_libraries() {
        assert!(Scanner::default().libraries(u32::MAX).is_empty());
    }
}
