//! The store that podman and CRI-O share (containers/storage): lists of containers and of images.

use super::{digest, fill, json};
use crate::event::WorkloadFact;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Storage drivers, which are in the names of the folders.
pub const DRIVERS: &[&str] = &["overlay", "vfs", "btrfs", "zfs"];

/// Containers that are removed when they end (`--rm`) have a list of their own since containers/storage 1.46.
const CONTAINERS: &[&str] = &["containers.json", "volatile-containers.json"];

/// `NAME` in the folders `DRIVER-KIND` of every storage.
fn lists(storages: &[PathBuf], kind: &str, name: &str) -> Vec<PathBuf> {
    let of_storage = |storage: &PathBuf| {
        let folders = DRIVERS
            .iter()
            .map(|driver| storage.join(format!("{driver}-{kind}")));
        folders.map(|folder| folder.join(name)).collect::<Vec<_>>()
    };
    storages.iter().flat_map(of_storage).collect()
}

pub fn describe(storages: &[PathBuf], id: &str, fact: &mut WorkloadFact) {
    for list in CONTAINERS
        .iter()
        .flat_map(|name| lists(storages, "containers", name))
    {
        if let Some(container) = entry(&list, id) {
            let name = container.pointer("/names/0").and_then(Value::as_str);
            // JSON inside JSON: what the engine on top wants to remember.
            let metadata = container.get("metadata").and_then(Value::as_str);
            let metadata: Value = metadata
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let of = |name: &str| metadata.get(name).and_then(Value::as_str);
            fill(&mut fact.container_name, of("name").or(name));
            fill(&mut fact.image, of("image-name"));
            let image = of("image-id").or_else(|| container.get("image")?.as_str());
            fill(&mut fact.image_id, image.map(digest).as_deref());
        }
    }
    let image = fact.image_id.as_deref().and_then(|id| id.strip_prefix("sha256:"));
    let found = image.and_then(|id| {
        let lists = lists(storages, "images", "images.json");
        lists.iter().find_map(|list| entry(list, id))
    });
    let digest = found.as_ref().and_then(|image| image.get("digest")?.as_str());
    fill(&mut fact.image_digest, digest);
}

fn entry(list: &Path, id: &str) -> Option<Value> {
    let Value::Array(entries) = json(list)? else {
        return None;
    };
    entries
        .into_iter()
        .find(|entry| entry.get("id").and_then(Value::as_str) == Some(id))
}
