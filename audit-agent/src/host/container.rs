//! What the runtimes' own files say of a container.
//!
//! In: a container's id from its cgroup path. Out: its name, image and pod, as far as files say it. Never: a socket of a
//! runtime, a command, a file larger than [`FILE_MAX`]. All paths are below a root, so that tests have their own.
//!
//! Read are, each where it exists: the OCI configuration in the bundle (containerd, CRI-O, podman: annotations), docker's
//! `config.v2.json`, podman's and CRI-O's `containers.json` and `images.json`, and the names in `/var/log/containers` and
//! `/var/log/pods`, which the kubelet makes whatever the runtime.

mod bundle;
mod docker;
mod kubelet;
mod storage;

use super::cgroup;
use crate::event::WorkloadFact;
use crate::limits::cut;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of one file that are read; larger ones are not understood.
const FILE_MAX: u64 = 16 * 1024 * 1024;
/// Entries of one folder that are looked at.
const ENTRIES_MAX: usize = 4096;

/// Adds what files below `root` (`/` outside of tests) say of the container or pod.
pub fn describe(root: &Path, fact: &mut WorkloadFact) {
    if let Some(id) = fact.container_id.clone() {
        let storages = storages(root, fact);
        bundle::describe(root, &storages, &id, fact);
        docker::describe(root, &id, fact);
        storage::describe(&storages, &id, fact);
        kubelet::by_container(root, &id, fact);
    }
    if fact.pod_uid.is_some() {
        kubelet::by_pod(root, fact);
    }
    if fact.image_digest.is_none() {
        // `name@sha256:...`: the image was asked for by its digest.
        let asked = fact.image.as_deref().and_then(|image| image.split_once('@'));
        fact.image_digest = asked.map(|(_, digest)| digest.to_owned());
    }
}

/// Where podman and CRI-O keep containers: the system's folders, and those of the user that runs rootless ones.
fn storages(root: &Path, fact: &WorkloadFact) -> Vec<PathBuf> {
    let mut folders = vec![
        root.join("run/containers/storage"),
        root.join("var/lib/containers/storage"),
    ];
    let user = fact.cgroup.as_deref().and_then(cgroup::user);
    if let Some(uid) = user {
        folders.push(root.join(format!("run/user/{uid}/containers")));
        folders.extend(home(root, uid).map(|home| home.join(".local/share/containers/storage")));
    }
    folders
}

/// The home folder of a user, from `/etc/passwd` (passwd(5): name, password, uid, gid, comment, home, shell).
fn home(root: &Path, uid: u32) -> Option<PathBuf> {
    let text = String::from_utf8(read(&root.join("etc/passwd"))?).ok()?;
    let home = text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid))
            .then(|| fields.nth(2))
            .flatten()
    });
    home.map(|home| root.join(home.trim_start_matches('/')))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > FILE_MAX {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&read(path)?).ok()
}

/// Names in a folder, none when it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.take(ENTRIES_MAX).collect()
}

/// Sets what is not known yet; an empty text says nothing.
fn fill(field: &mut Option<String>, value: Option<&str>) {
    if field.is_none() {
        *field = value.filter(|value| !value.is_empty()).map(cut);
    }
}

/// A digest with its algorithm (`sha256:` is left out by some).
fn digest(value: &str) -> String {
    if value.is_empty() || value.contains(':') {
        return value.to_owned();
    }
    format!("sha256:{value}")
}

#[cfg(test)]
mod tests;
