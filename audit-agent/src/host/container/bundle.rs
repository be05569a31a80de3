//! The OCI runtime configuration (`config.json` of a bundle): its annotations say what the container is of.
//!
//! Names of annotations: containerd `pkg/cri/annotations`, CRI-O and podman `pkg/annotations`, Kubernetes' labels.

use super::storage::DRIVERS;
use super::{digest, fill, json, names};
use crate::event::WorkloadFact;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Where containerd keeps bundles, one folder for each of its namespaces; the second is k3s's.
const CONTAINERD: &[&str] = &[
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
];

const CONTAINER_NAME: &[&str] = &[
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
    "nerdctl/name",
];
const IMAGE: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
    "io.kubernetes.cri-o.UserRequestedImage",
];
const POD_NAME: &[&str] = &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const POD_NAMESPACE: &[&str] = &[
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.pod.namespace",
];
const POD_UID: &[&str] = &["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];

pub fn describe(root: &Path, storages: &[PathBuf], id: &str, fact: &mut WorkloadFact) {
    for (namespace, bundle) in containerd(root, id) {
        if let Some(config) = json(&bundle.join("config.json")) {
            // Docker's containers are containerd's too, in a namespace of their own.
            let runtime = if namespace == "moby" {
                "docker"
            } else {
                "containerd"
            };
            fill(&mut fact.runtime, Some(runtime));
            annotations(&config, fact);
        }
    }
    let folders = storages.iter().flat_map(|storage| {
        let of_driver = |driver| storage.join(format!("{driver}-containers"));
        DRIVERS.iter().map(of_driver)
    });
    for folder in folders.map(|folder| folder.join(id).join("userdata")) {
        if let Some(config) = json(&folder.join("config.json")) {
            let podman = text(&config, &["io.container.manager"]) == Some("libpod");
            fill(&mut fact.runtime, Some(if podman { "podman" } else { "cri-o" }));
            annotations(&config, fact);
        }
    }
}

fn containerd(root: &Path, id: &str) -> Vec<(String, PathBuf)> {
    let mut bundles = Vec::new();
    for folder in CONTAINERD.iter().map(|folder| root.join(folder)) {
        let namespaces = names(&folder).into_iter();
        bundles.extend(namespaces.map(|namespace| (namespace.clone(), folder.join(namespace).join(id))));
    }
    bundles
}

fn annotations(config: &Value, fact: &mut WorkloadFact) {
    fill(&mut fact.container_name, text(config, CONTAINER_NAME));
    fill(&mut fact.image, text(config, IMAGE));
    fill(&mut fact.pod_name, text(config, POD_NAME));
    fill(&mut fact.pod_namespace, text(config, POD_NAMESPACE));
    fill(&mut fact.pod_uid, text(config, POD_UID));
    // CRI-O: the image's id, and `name@digest` of what was pulled.
    let image = text(config, &["io.kubernetes.cri-o.ImageRef"]).map(digest);
    fill(&mut fact.image_id, image.as_deref());
    let pulled = text(config, &["io.kubernetes.cri-o.ImageRepoDigests"]);
    let pulled = pulled.and_then(|all| all.split(',').find_map(|one| one.split_once('@')));
    fill(&mut fact.image_digest, pulled.map(|(_, digest)| digest));
}

fn text<'a>(config: &'a Value, names: &[&str]) -> Option<&'a str> {
    let annotations = config.get("annotations")?;
    let found = names.iter().filter_map(|name| annotations.get(name)?.as_str());
    found.into_iter().find(|value| !value.is_empty())
}
