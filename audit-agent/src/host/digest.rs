//! SHA-256 of executables and weights: once for each file, weights in the background at low priority.
//!
//! In: open files. Out: digests by (device, inode, size, time of change). Never: a read that keeps the capture waiting
//! for more than `SYNCHRONOUS_MAX` bytes.

use crate::event::ModelFile;
use crate::privilege::capabilities;
use crate::record::hash::hex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Executables up to this size are digested at once: about 50 ms.
const SYNCHRONOUS_MAX: u64 = 32 * 1024 * 1024;

type FileId = (u64, u64, u64, i64);

#[derive(Debug)]
pub struct Digests {
    known: HashMap<FileId, Option<String>>,
    work: Sender<(FileId, File)>,
    done: Receiver<(FileId, Option<String>)>,
}

impl Digests {
    /// Starts the worker, which ends when this is dropped.
    pub fn start() -> Self {
        let (work, jobs) = channel::<(FileId, File)>();
        let (results, done) = channel();
        let worker = move || {
            lower_priority();
            // It reads files that are open already.
            if let Err(error) = capabilities::set(capabilities::Set::EMPTY) {
                tracing::warn!(%error, "digests are computed with more rights than needed");
            }
            for (id, file) in jobs {
                let digest = sha256(file)
                    .filter(|(len, _)| *len == id.2)
                    .map(|(_, digest)| digest);
                if results.send((id, digest)).is_err() {
                    return;
                }
            }
        };
        // Without the thread digests stay unknown, which every record says.
        let _ = thread::Builder::new().name("digest".into()).spawn(worker);
        Self {
            known: HashMap::new(),
            work,
            done,
        }
    }

    /// The digest of this program, however long it takes: it is done once, before anything is captured.
    pub fn own_executable() -> Option<String> {
        sha256(File::open("/proc/self/exe").ok()?).map(|(_, digest)| digest)
    }

    /// The digest of the file that `pid` executes.
    pub fn executable(&mut self, pid: u32) -> Option<String> {
        let file = File::open(format!("/proc/{pid}/exe")).ok()?;
        let id = identity(&file)?;
        if let Some(known) = self.known.get(&id) {
            return known.clone();
        }
        if id.2 > SYNCHRONOUS_MAX {
            self.request(id, file);
            return None;
        }
        let digest = sha256(file).map(|(_, digest)| digest);
        self.known.insert(id, digest.clone());
        digest
    }

    /// Fills the digest of a weights file if it is known, and has it computed if not.
    pub fn weights(&mut self, model: &mut ModelFile, file: File) {
        let Some(id) = identity(&file) else { return };
        match self.known.get(&id) {
            Some(known) => model.sha256 = known.clone(),
            None => self.request(id, file),
        }
    }

    fn request(&mut self, id: FileId, file: File) {
        self.known.insert(id, None);
        let _ = self.work.send((id, file));
    }

    /// Takes what the worker has finished; true when there was anything.
    pub fn collect(&mut self) -> bool {
        let mut any = false;
        while let Ok((id, digest)) = self.done.try_recv() {
            self.known.insert(id, digest);
            any = true;
        }
        any
    }
}

fn identity(file: &File) -> Option<FileId> {
    let meta = file.metadata().ok().filter(|meta| meta.is_file())?;
    Some((
        meta.dev(),
        meta.ino(),
        meta.size(),
        meta.mtime()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(meta.mtime_nsec()),
    ))
}

fn sha256(mut file: File) -> Option<(u64, String)> {
    // Whoever opened it may have looked at its beginning.
    file.rewind().ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut len = 0;
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some((len, hex(&hasher.finalize()))),
            read => {
                len += read as u64;
                hasher.update(buffer.get(..read)?);
            }
        }
    }
}

/// The thread runs when nothing else wants to.
fn lower_priority() {
    // SAFETY: a plain system call on this thread (Linux gives each thread its own nice value).
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn weights_are_digested_in_the_background_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, b"abc").unwrap();
        let mut digests = Digests::start();
        let mut model = ModelFile::default();
        let mut file = File::open(&path).unwrap();
        file.read_exact(&mut [0; 2]).unwrap();
        digests.weights(&mut model, file);
        assert_eq!(model.sha256, None);
        let result = digests.done.recv_timeout(Duration::from_secs(10)).unwrap();
        digests.known.insert(result.0, result.1);
        digests.weights(&mut model, File::open(&path).unwrap());
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(model.sha256.as_deref(), Some(known));
    }
}
