//! Docker's own folder: one `config.v2.json` for each container, and which digests its images were pulled by.

use super::{fill, json};
use crate::event::WorkloadFact;
use serde_json::Value;
use std::path::Path;

const FOLDER: &str = "var/lib/docker";
/// Storage drivers whose folder may have the list of images.
const DRIVERS: &[&str] = &["overlay2", "overlayfs", "btrfs", "zfs", "vfs"];

pub fn describe(root: &Path, id: &str, fact: &mut WorkloadFact) {
    let folder = root.join(FOLDER);
    let Some(config) = json(&folder.join("containers").join(id).join("config.v2.json")) else {
        return;
    };
    let text = |path: &str| config.pointer(path).and_then(Value::as_str);
    let label = |name: &str| config.pointer("/Config/Labels")?.get(name)?.as_str();
    fill(&mut fact.runtime, Some("docker"));
    fill(&mut fact.container_name, label("io.kubernetes.container.name"));
    fill(&mut fact.pod_name, label("io.kubernetes.pod.name"));
    fill(&mut fact.pod_namespace, label("io.kubernetes.pod.namespace"));
    fill(&mut fact.pod_uid, label("io.kubernetes.pod.uid"));
    fill(
        &mut fact.container_name,
        text("/Name").map(|name| name.trim_start_matches('/')),
    );
    fill(&mut fact.image, text("/Config/Image"));
    fill(&mut fact.image_id, text("/Image"));
    let digest = fact.image_id.as_deref().and_then(|id| pulled_by(&folder, id));
    fill(&mut fact.image_digest, digest.as_deref());
}

/// `repositories.json`: by repository, references (`name:tag`, `name@sha256:...`) and the image's id.
fn pulled_by(folder: &Path, image_id: &str) -> Option<String> {
    let lists = DRIVERS
        .iter()
        .filter_map(|driver| json(&folder.join("image").join(driver).join("repositories.json")));
    for list in lists {
        let repositories = list.get("Repositories").and_then(Value::as_object);
        for (reference, id) in repositories
            .into_iter()
            .flat_map(|all| all.values())
            .filter_map(Value::as_object)
            .flatten()
        {
            if let (Some(image_id_here), Some((_, digest))) = (id.as_str(), reference.split_once('@'))
                && image_id_here == image_id
            {
                return Some(digest.to_owned());
            }
        }
    }
    None
}
