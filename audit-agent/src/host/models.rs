//! The weights that a process has open or mapped.

use super::digest::Digests;
use super::gguf;
use crate::event::ModelFile;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file's beginning that are looked at.
const HEADER_BYTES: u64 = 1024 * 1024;
/// Files of one process that are looked at.
const FILES_MAX: usize = 64;

/// Weights files of `pid`, largest first. Digests that are not known yet are asked for.
pub fn of_process(pid: u32, digests: &mut Digests) -> Vec<ModelFile> {
    let paths: BTreeSet<PathBuf> = mapped(pid).into_iter().chain(open(pid)).take(FILES_MAX).collect();
    let mut seen = BTreeSet::new();
    let mut models = Vec::new();
    for path in paths {
        // The process may live in another mount namespace.
        let inside = PathBuf::from(format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(&path));
        let Ok(file) = open_without_waiting(&inside) else {
            continue;
        };
        let Some(mut model) = describe(&path, &file) else {
            continue;
        };
        if seen.insert((model.device, model.inode)) {
            digests.weights(&mut model, file);
            models.push(model);
        }
    }
    models.sort_by_key(|model| std::cmp::Reverse(model.size));
    models
}

/// A server may have put a pipe in the place of its weights: opening that would wait for a writer for ever.
fn open_without_waiting(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn is_candidate(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = [".gguf", ".safetensors", ".ggml"]
        .iter()
        .any(|end| name.ends_with(end));
    // Ollama's blobs have no extension.
    extension || name.starts_with("sha256-")
}

fn mapped(pid: u32) -> Vec<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    paths
        .filter(|path| is_candidate(path))
        .map(PathBuf::from)
        .collect()
}

fn open(pid: u32) -> Vec<PathBuf> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter(|path| {
            path.to_str()
                .is_some_and(|path| path.starts_with('/') && is_candidate(path))
        })
        .collect()
}

fn describe(path: &Path, file: &File) -> Option<ModelFile> {
    let meta = file.metadata().ok().filter(|meta| meta.is_file())?;
    let mut beginning = Vec::new();
    file.take(HEADER_BYTES).read_to_end(&mut beginning).ok()?;
    let header = gguf::header(&beginning);
    let format = match (&header, beginning.get(8)) {
        (Some(_), _) => "gguf",
        (None, Some(b'{')) => "safetensors",
        _ => return None,
    };
    let header = header.unwrap_or_default();
    let modified = meta
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(meta.mtime_nsec());
    Some(ModelFile {
        path: path.to_string_lossy().into_owned(),
        device: meta.dev(),
        inode: meta.ino(),
        size: meta.size(),
        modified_ns: u64::try_from(modified).unwrap_or(0),
        format: format.into(),
        name: header.name,
        architecture: header.architecture,
        quantisation: header.quantisation,
        sha256: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_weights_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (done, waiting) = std::sync::mpsc::channel();
        std::thread::spawn(move || done.send(open_without_waiting(&path).is_ok()));
        let opened = waiting.recv_timeout(std::time::Duration::from_secs(10));
        assert_eq!(opened, Ok(true));
    }

    #[test]
    fn finds_the_weights_that_are_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        fs::write(&path, [&b"GGUF\x03\0\0\0"[..], &[0; 16]].concat()).unwrap();
        let _held = File::open(&path).unwrap();
        let models = of_process(std::process::id(), &mut Digests::start());
        let model = models
            .iter()
            .find(|model| model.path == path.to_string_lossy())
            .unwrap();
        assert_eq!((model.format.as_str(), model.size), ("gguf", 24));
    }
}
