//! The folders in which the kubelet names pods and containers, whatever the runtime.
//!
//! `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` and `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/`; none of the
//! names may hold a `_` (Kubernetes' object names).

use super::{fill, names};
use crate::event::WorkloadFact;
use std::path::Path;

pub fn by_container(root: &Path, id: &str, fact: &mut WorkloadFact) {
    for name in names(&root.join("var/log/containers")) {
        let Some(name) = name.strip_suffix(".log").and_then(|name| name.strip_suffix(id)) else {
            continue;
        };
        let mut parts = name.trim_end_matches('-').splitn(3, '_');
        fill(&mut fact.pod_name, parts.next());
        fill(&mut fact.pod_namespace, parts.next());
        fill(&mut fact.container_name, parts.next());
        return;
    }
}

pub fn by_pod(root: &Path, fact: &mut WorkloadFact) {
    let folder = root.join("var/log/pods");
    for name in names(&folder) {
        let mut parts = name.splitn(3, '_');
        let (namespace, pod, uid) = (parts.next(), parts.next(), parts.next());
        if uid.is_none() || uid != fact.pod_uid.as_deref() {
            continue;
        }
        fill(&mut fact.pod_namespace, namespace);
        fill(&mut fact.pod_name, pod);
        // Of several containers none can be told from this.
        if let [only] = names(&folder.join(&name)).as_slice() {
            fill(&mut fact.container_name, Some(only));
        }
        return;
    }
}
