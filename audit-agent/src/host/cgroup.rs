//! What a cgroup path names: units, containers, pods. Pure.
//!
//! In: a path of `/proc/PID/cgroup`. Out: [`WorkloadFact`] as far as the path says it. Never: a name that the path does
//! not have; the files of the runtimes (`container`) say the rest.

use crate::event::WorkloadFact;

/// Bytes of a container id, as every runtime for OCI images makes them.
const ID_LEN: usize = 64;

/// Runtimes by what stands before the id, in the component of a scope or of a folder.
const RUNTIMES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("cri-containerd:", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
];

/// Everything that `path` names.
pub fn workload(path: &str) -> WorkloadFact {
    let (container_id, runtime) = match container(path) {
        Some((id, runtime)) => (Some(id), runtime),
        None => (None, None),
    };
    let lxc = lxc(path);
    WorkloadFact {
        cgroup: Some(path.to_owned()),
        runtime: runtime.or_else(|| lxc.is_some().then(|| "lxc".to_owned())),
        container_id,
        container_name: lxc,
        pod_uid: pod_uid(path),
        systemd_unit: systemd_unit(path),
        systemd_user_unit: systemd_user_unit(path),
        ..WorkloadFact::default()
    }
}

/// The user whose manager or session the path is in (`user-1000.slice`).
pub fn user(path: &str) -> Option<u32> {
    path.split('/')
        .find_map(|part| part.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok())
}

/// Innermost container: its id and, where the path says so, its runtime.
fn container(path: &str) -> Option<(String, Option<String>)> {
    let mut parts = path.rsplit('/').peekable();
    while let Some(part) = parts.next() {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        // A container's monitor runs beside the container, not in it.
        if name.contains("-conmon-") {
            continue;
        }
        let Some((before, id)) = name
            .len()
            .checked_sub(ID_LEN)
            .and_then(|at| name.split_at_checked(at))
        else {
            continue;
        };
        if !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let by_prefix = RUNTIMES.iter().find(|(prefix, _)| before.ends_with(prefix));
        let by_folder = || (before.is_empty() && parts.peek() == Some(&"docker")).then_some("docker");
        let runtime = by_prefix.map(|(_, runtime)| *runtime).or_else(by_folder);
        return Some((id.to_owned(), runtime.map(str::to_owned)));
    }
    None
}

/// `lxc.payload.NAME` (LXC 4), `lxc/NAME` before.
fn lxc(path: &str) -> Option<String> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        if let Some(name) = part.strip_prefix("lxc.payload.") {
            return Some(name.to_owned());
        }
        if part == "lxc" {
            return parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
        }
    }
    None
}

/// The pod's uid: `podUID` (cgroupfs driver), `kubepods-burstable-podUID.slice` with `_` for `-` (systemd driver). A
/// static pod's is a hash without dashes.
fn pod_uid(path: &str) -> Option<String> {
    if !path.contains("kubepods") {
        return None;
    }
    path.rsplit(['/', ':']).find_map(|part| {
        let name = part.strip_suffix(".slice").unwrap_or(part);
        let (before, uid) = name.rsplit_once("pod")?;
        let known = before.is_empty() || before.ends_with('-');
        let uid = uid.replace('_', "-");
        let valid = uid.len() >= 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        (known && valid).then_some(uid)
    })
}

fn is_unit(part: &str) -> bool {
    part.ends_with(".service") || part.ends_with(".scope")
}

/// The system manager's unit: the first component behind the slices, as `sd_pid_get_unit(3)` has it.
fn systemd_unit(path: &str) -> Option<String> {
    path.split('/').find(|part| is_unit(part)).map(str::to_owned)
}

/// The unit of a user's manager, behind its `user@UID.service`, as `sd_pid_get_user_unit(3)` has it.
fn systemd_user_unit(path: &str) -> Option<String> {
    let manager = |part: &&str| part.starts_with("user@") && part.ends_with(".service");
    let mut behind = path.split('/').skip_while(|part| !manager(part));
    behind.next()?;
    behind.find(|part| is_unit(part)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "9b162322bb77c24f112c8043f5f81cc48a14fc515f2f2526bebf76b4939b62e3";
    const POD: &str = "6f1c7f5e-2f0b-4c5d-8a53-0a1b2c3d4e5f";

    /// Runtime, whether there is a container, pod uid, unit, user unit.
    type Expected<'a> = (
        Option<&'a str>,
        bool,
        Option<&'a str>,
        Option<&'a str>,
        Option<&'a str>,
    );

    fn check(path: &str, expected: Expected<'_>) {
        let path = path
            .replace("{id}", ID)
            .replace("{pod}", POD)
            .replace("{pod_}", &POD.replace('-', "_"));
        let found = workload(&path);
        let container = found.container_id.as_deref().map(|id| {
            assert_eq!(id, ID, "{path}");
        });
        let unit = expected.3.map(|unit| unit.replace("{id}", ID));
        assert_eq!(
            (
                found.runtime.as_deref(),
                container.is_some(),
                found.pod_uid.as_deref(),
                found.systemd_unit,
                found.systemd_user_unit.as_deref(),
            ),
            (expected.0, expected.1, expected.2, unit, expected.4),
            "{path}"
        );
    }

    /// Paths as the runtimes' documentation and their own tests have them.
    #[test]
    fn finds_containers_pods_and_units_in_the_paths_of_every_runtime() {
        let docker = Some("docker");
        let (containerd, crio, podman) = (Some("containerd"), Some("cri-o"), Some("podman"));
        let user = Some("user@1000.service");
        check("/", (None, false, None, None, None));
        check(
            "/system.slice/llama.service",
            (None, false, None, Some("llama.service"), None),
        );
        check(
            "/user.slice/user-1000.slice/session-3.scope",
            (None, false, None, Some("session-3.scope"), None),
        );
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service",
            (None, false, None, user, Some("ollama.service")),
        );
        check(
            "/system.slice/docker-{id}.scope",
            (docker, true, None, Some("docker-{id}.scope"), None),
        );
        check("/docker/{id}", (docker, true, None, None, None));
        check(
            "/docker/{id}/init.scope",
            (docker, true, None, Some("init.scope"), None),
        );
        check("/libpod_parent/libpod-{id}", (podman, true, None, None, None));
        check(
            "/machine.slice/libpod-{id}.scope/container",
            (podman, true, None, Some("libpod-{id}.scope"), None),
        );
        check(
            "/system.slice/llama.service/libpod-payload-{id}",
            (podman, true, None, Some("llama.service"), None),
        );
        check(
            "/machine.slice/libpod-conmon-{id}.scope",
            (None, false, None, Some("libpod-conmon-{id}.scope"), None),
        );
        let rootless = "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container";
        check(
            rootless,
            (podman, true, None, user, Some(&format!("libpod-{ID}.scope"))),
        );
        check(
            "/kubepods/burstable/pod{pod}/{id}",
            (None, true, Some(POD), None, None),
        );
        check(
            "/kubepods/pod{pod}/crio-{id}",
            (crio, true, Some(POD), None, None),
        );
        let slices = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{pod_}.slice";
        let scope = |name: &str| format!("{slices}/{name}-{{id}}.scope");
        check(
            &scope("cri-containerd"),
            (
                containerd,
                true,
                Some(POD),
                Some("cri-containerd-{id}.scope"),
                None,
            ),
        );
        check(
            &scope("crio"),
            (crio, true, Some(POD), Some("crio-{id}.scope"), None),
        );
        check(
            "/system.slice/containerd.service/kubepods-burstable-pod{pod_}.slice:cri-containerd:{id}",
            (containerd, true, Some(POD), Some("containerd.service"), None),
        );
        // A node that is a container itself (kind): the innermost container is meant.
        check(
            "/docker/0000000000000000000000000000000000000000000000000000000000000000/kubelet/kubepods/pod{pod}/{id}",
            (None, true, Some(POD), None, None),
        );
    }

    #[test]
    fn a_static_pod_has_a_uid_without_dashes() {
        let path = "/kubepods/burstable/pod0123456789abcdef0123456789abcdef/x";
        assert_eq!(
            workload(path).pod_uid.as_deref(),
            Some("0123456789abcdef0123456789abcdef")
        );
    }

    #[test]
    fn lxc_containers_are_known_by_name() {
        for path in ["/lxc.payload.box/system.slice/a.service", "/lxc/box"] {
            let found = workload(path);
            assert_eq!(
                (found.runtime.as_deref(), found.container_name.as_deref()),
                (Some("lxc"), Some("box"))
            );
        }
    }

    #[test]
    fn the_user_of_a_rootless_container_is_known() {
        assert_eq!(user("/user.slice/user-1000.slice/user@1000.service"), Some(1000));
        assert_eq!(user("/system.slice/user.slice"), None);
    }

    proptest! {
        #[test]
        fn any_path_is_taken(path in ".{0,300}") {
            let found = workload(&path);
            prop_assert!(found.container_id.is_none_or(|id| path.contains(&id)));
        }
    }
}
