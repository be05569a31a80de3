//! Which unit and container a cgroup path names. Pure.

/// The systemd unit in `path`: its last component that is a service, else a scope.
pub fn systemd_unit(path: &str) -> Option<String> {
    let last = |suffix: &str| path.rsplit('/').find(|part| part.ends_with(suffix));
    last(".service").or_else(|| last(".scope")).map(str::to_owned)
}

/// The container id in `path`: 64 hexadecimal digits, as docker, containerd, cri-o and podman write them.
pub fn container_id(path: &str) -> Option<String> {
    let parts = path.rsplit('/').flat_map(|part| part.split(['-', '.', ':']));
    let is_id = |part: &&str| part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.into_iter().find(is_id).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_units_and_containers() {
        let id = "0123456789abcdef".repeat(4);
        let cases = [
            (
                "/system.slice/llama.service".to_owned(),
                Some("llama.service"),
                false,
            ),
            (format!("/system.slice/docker-{id}.scope"), Some("docker-"), true),
            (format!("/docker/{id}"), None, true),
            (
                format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"),
                Some("cri-containerd-"),
                true,
            ),
            (
                format!("/machine.slice/libpod-{id}.scope/container"),
                Some("libpod-"),
                true,
            ),
            ("/".to_owned(), None, false),
        ];
        for (path, unit, container) in cases {
            let found = systemd_unit(&path);
            assert!(
                unit.is_none_or(|unit| found.as_ref().is_some_and(|found| found.starts_with(unit))),
                "{path}"
            );
            assert_eq!(
                container_id(&path).as_deref(),
                container.then_some(id.as_str()),
                "{path}"
            );
        }
    }
}
