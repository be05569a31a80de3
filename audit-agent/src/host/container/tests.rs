use super::*;

const ID: &str = "9b162322bb77c24f112c8043f5f81cc48a14fc515f2f2526bebf76b4939b62e3";
const IMAGE: &str = "3b25b682ea82b2db3cc4fd48db818be788ee3f902ac7378090cf2624ec2442df";
const POD: &str = "6f1c7f5e-2f0b-4c5d-8a53-0a1b2c3d4e5f";

/// A host's files: path below the root, and content. `ID` and `IMAGE` stand for the real ones.
fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let real = |text: &str| text.replace("ID", ID).replace("IMAGE", IMAGE);
        let path = root.path().join(real(path));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, real(content)).unwrap();
    }
    root
}

fn described(files: &[(&str, &str)], cgroup: &str) -> WorkloadFact {
    let mut fact = cgroup::workload(&cgroup.replace("ID", ID).replace("POD", POD));
    describe(host(files).path(), &mut fact);
    fact
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A bundle as containerd 1.7 writes it for the kubelet (`pkg/cri/annotations`), cut to what is read.
#[test]
fn containerd_of_kubernetes() {
    let config = r#"{"ociVersion":"1.1.0","annotations":{
        "io.kubernetes.cri.container-name":"llama","io.kubernetes.cri.container-type":"container",
        "io.kubernetes.cri.image-name":"ghcr.io/ggml-org/llama.cpp@sha256:IMAGE","io.kubernetes.cri.sandbox-id":"x",
        "io.kubernetes.cri.sandbox-name":"chat-0","io.kubernetes.cri.sandbox-namespace":"slm",
        "io.kubernetes.cri.sandbox-uid":"6f1c7f5e-2f0b-4c5d-8a53-0a1b2c3d4e5f"},"linux":{}}"#;
    let path = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
    let fact = described(&[(path, config)], "/kubepods/burstable/podPOD/ID");
    let expected = WorkloadFact {
        cgroup: some(&format!("/kubepods/burstable/pod{POD}/{ID}")),
        runtime: some("containerd"),
        container_id: some(ID),
        container_name: some("llama"),
        image: some(&format!("ghcr.io/ggml-org/llama.cpp@sha256:{IMAGE}")),
        image_digest: some(&format!("sha256:{IMAGE}")),
        pod_uid: some(POD),
        pod_name: some("chat-0"),
        pod_namespace: some("slm"),
        ..WorkloadFact::default()
    };
    assert_eq!(fact, expected);
}

/// A bundle as CRI-O 1.30 writes it (`pkg/annotations`), cut to what is read.
#[test]
fn crio_of_kubernetes() {
    let config = r#"{"annotations":{"io.container.manager":"cri-o","io.kubernetes.container.name":"llama",
        "io.kubernetes.cri-o.ImageName":"quay.io/slm/llama:1","io.kubernetes.cri-o.ImageRef":"IMAGE",
        "io.kubernetes.pod.name":"chat-0","io.kubernetes.pod.namespace":"slm","io.kubernetes.pod.uid":"u"}}"#;
    let path = "run/containers/storage/overlay-containers/ID/userdata/config.json";
    let fact = described(
        &[(path, config)],
        "/kubepods.slice/kubepods-podx.slice/crio-ID.scope",
    );
    assert_eq!(fact.runtime, some("cri-o"));
    assert_eq!(fact.container_name, some("llama"));
    assert_eq!(fact.image, some("quay.io/slm/llama:1"));
    assert_eq!(fact.image_id, some(&format!("sha256:{IMAGE}")));
    assert_eq!(
        (fact.pod_name, fact.pod_namespace, fact.pod_uid),
        (some("chat-0"), some("slm"), some("u"))
    );
}

/// Docker 24 (`container.Container` and `reference.store` in moby).
#[test]
fn docker() {
    let config = r#"{"ID":"ID","Name":"/my-llama","Image":"sha256:IMAGE","Driver":"overlay2",
        "Config":{"Image":"ghcr.io/ggml-org/llama.cpp:server","Labels":{"maintainer":"x"}}}"#;
    let images = r#"{"Repositories":{"ghcr.io/ggml-org/llama.cpp":{
        "ghcr.io/ggml-org/llama.cpp:server":"sha256:IMAGE",
        "ghcr.io/ggml-org/llama.cpp@sha256:aaaa":"sha256:IMAGE"}}}"#;
    let files = [
        ("var/lib/docker/containers/ID/config.v2.json", config),
        ("var/lib/docker/image/overlay2/repositories.json", images),
    ];
    let fact = described(&files, "/system.slice/docker-ID.scope");
    assert_eq!(fact.runtime, some("docker"));
    assert_eq!(fact.container_name, some("my-llama"));
    assert_eq!(fact.image, some("ghcr.io/ggml-org/llama.cpp:server"));
    assert_eq!(fact.image_id, some(&format!("sha256:{IMAGE}")));
    assert_eq!(fact.image_digest, some("sha256:aaaa"));
}

/// Docker below the kubelet (cri-dockerd) says the pod by labels.
#[test]
fn docker_of_kubernetes() {
    let config = r#"{"Name":"/k8s_llama_chat-0_slm_u_0","Config":{"Image":"sha256:IMAGE","Labels":{
        "io.kubernetes.container.name":"llama","io.kubernetes.pod.name":"chat-0",
        "io.kubernetes.pod.namespace":"slm","io.kubernetes.pod.uid":"u"}}}"#;
    let fact = described(
        &[("var/lib/docker/containers/ID/config.v2.json", config)],
        "/kubepods/podx/ID",
    );
    assert_eq!(
        (fact.container_name, fact.pod_name),
        (some("llama"), some("chat-0"))
    );
}

/// Podman 4.3: the list of containers as it wrote it for `podman run`, the list of images by containers/storage's types.
const PODMAN: [(&str, &str); 3] = [
    (
        "STORE/overlay-containers/containers.json",
        r#"[{"id":"other","names":["no"]},{"id":"ID","names":["wl"],"image":"IMAGE","layer":"l",
            "metadata":"{\"image-name\":\"quay.io/slm/llama:1\",\"image-id\":\"IMAGE\",\"name\":\"wl\",\"created-at\":1}"}]"#,
    ),
    (
        "STORE/overlay-images/images.json",
        r#"[{"id":"IMAGE","digest":"sha256:bbbb","names":["quay.io/slm/llama:1"],"layer":"l"}]"#,
    ),
    (
        "STORE/overlay-containers/ID/userdata/config.json",
        r#"{"annotations":{"io.container.manager":"libpod","org.opencontainers.image.stopSignal":"15"}}"#,
    ),
];

fn podman(store: &str, cgroup: &str, extra: &[(&str, &str)]) -> WorkloadFact {
    let moved = PODMAN.map(|(path, content)| (path.replace("STORE", store), content));
    let mut files: Vec<_> = moved
        .iter()
        .map(|(path, content)| (path.as_str(), *content))
        .collect();
    files.extend(extra);
    described(&files, cgroup)
}

#[test]
fn podman_of_root_and_of_a_user() {
    let root = podman(
        "var/lib/containers/storage",
        "/machine.slice/libpod-ID.scope/container",
        &[],
    );
    let user = podman(
        "home/ann/.local/share/containers/storage",
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        &[(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000:,,,:/home/ann:/bin/sh\n",
        )],
    );
    for fact in [root, user] {
        assert_eq!(fact.runtime, some("podman"));
        assert_eq!(fact.container_name, some("wl"));
        assert_eq!(fact.image, some("quay.io/slm/llama:1"));
        assert_eq!(fact.image_id, some(&format!("sha256:{IMAGE}")));
        assert_eq!(fact.image_digest, some("sha256:bbbb"));
    }
}

/// containers/storage 1.46 (`containers.go`) keeps what `--rm` made in a list below the run root.
#[test]
fn podman_of_a_container_that_is_removed_at_its_end() {
    let list = r#"[{"id":"ID","names":["once"],"image":"IMAGE","layer":"l","metadata":"","flags":{"Volatile":true}}]"#;
    let path = "run/containers/storage/vfs-containers/volatile-containers.json";
    let fact = described(&[(path, list)], "/libpod_parent/libpod-ID");
    assert_eq!(fact.container_name, some("once"));
    assert_eq!(fact.image_id, some(&format!("sha256:{IMAGE}")));
}

/// The kubelet's folders alone (`pkg/kubelet/kuberuntime/helpers.go`).
#[test]
fn names_of_the_kubelet_when_the_runtime_has_no_files() {
    let by_container = [("var/log/containers/chat-0_slm_llama-ID.log", "")];
    let by_pod = [(
        "var/log/pods/slm_chat-0_6f1c7f5e-2f0b-4c5d-8a53-0a1b2c3d4e5f/llama/0.log",
        "",
    )];
    for files in [by_container, by_pod] {
        let fact = described(&files, "/kubepods/podPOD/ID");
        assert_eq!(
            (fact.pod_name, fact.pod_namespace, fact.container_name),
            (some("chat-0"), some("slm"), some("llama"))
        );
    }
}

#[test]
fn damaged_files_say_nothing() {
    let files = [
        (
            "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
            "{\"annotations\":[1",
        ),
        ("var/lib/docker/containers/ID/config.v2.json", "[]"),
        (
            "var/lib/containers/storage/overlay-containers/containers.json",
            "{\"id\":\"ID\"}",
        ),
        (
            "run/containers/storage/overlay-containers/ID/userdata/config.json",
            "",
        ),
    ];
    let fact = described(&files, "/libpod_parent/libpod-ID");
    assert_eq!((fact.container_name, fact.image), (None, None));
}
