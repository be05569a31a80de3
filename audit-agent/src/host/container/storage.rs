//! The store that podman and CRI-O share (containers/storage): lists of containers and of images.

use super::{digest, fill, json};
use crate::event::WorkloadFact;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub fn describe(storages: &[PathBuf], id: &str, fact: &mut WorkloadFact) {
    for storage in storages {
        if let Some(container) = entry(&storage.join("overlay-containers/containers.json"), id) {
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
        let lists = storages
            .iter()
            .map(|storage| storage.join("overlay-images/images.json"));
        lists.into_iter().find_map(|list| entry(&list, id))
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
