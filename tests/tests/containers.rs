//! A real llama.cpp server in a real container: namespaces of its own, a cgroup of its own, podman's own files.

use anyhow::{Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::container::Container;
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, canonical_hash, of_type, sha256_of_file, with_prompt};
use audit_tests::slm::{installation, model};
use audit_tests::wait;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// In a network namespace of its own any port is free.
const PORT: &str = "8080";

/// The agent sees the whole machine: one test at a time.
static STAGE: Mutex<()> = Mutex::new(());

fn url(path: &str) -> String {
    format!("http://127.0.0.1:{PORT}{path}")
}

fn serve(name: &str, weights: &Path) -> Result<Container> {
    let program = installation()?.server.clone();
    let folder = program.parent().unwrap_or(Path::new("/"));
    let command = [
        &program.to_string_lossy(),
        "--host",
        "127.0.0.1",
        "--port",
        PORT,
        "--offline",
        "--model",
        &weights.to_string_lossy(),
    ];
    let container = Container::run(name, &[folder, weights.parent().unwrap_or(folder)], &command)?;
    wait::until("llama-server answering in its container", LIMIT, || {
        let health = ["curl", "--silent", "--fail", &url("/health")];
        Ok(container.beside(&health).ok())
    })?;
    Ok(container)
}

/// A chat by a curl of the host that has entered only the container's network.
fn ask(container: &Container, prompt: &str) -> Result<Value> {
    let messages = json!([{"role": "user", "content": prompt}]);
    let body = json!({"messages": messages, "max_tokens": 3}).to_string();
    container.beside(&["curl", "--silent", "--data", &body, &url("/v1/chat/completions")])?;
    Ok(messages)
}

fn check(record: &Value, container: &Container, weights: &Path) -> Result<()> {
    let server = &installation()?.server;
    let workload = &record["workload"];
    let process = &record["server"]["process"];
    let expected = [
        (&workload["runtime"], "podman".to_owned()),
        (&workload["container_id"], container.id().to_owned()),
        (&workload["container_name"], container.name().to_owned()),
        (&workload["image"], container.image().to_owned()),
        (
            &workload["image_id"],
            format!("sha256:{}", container.image_property("{{.Id}}")?),
        ),
        (
            &workload["image_digest"],
            container.image_property("{{.Digest}}")?,
        ),
        (&process["exe"], server.canonicalize()?.display().to_string()),
        (&record["model_version"], sha256_of_file(weights)?),
        (&record["client"]["process"]["comm"], "curl".to_owned()),
    ];
    for (found, expected) in expected {
        ensure!(
            found.as_str() == Some(&expected),
            "{found} is not {expected:?} in {record:#}"
        );
    }
    ensure!(
        process["pid"] == container.pid(),
        "the pid is not the host's: {record:#}"
    );
    let digest = sha256_of_file(server)?;
    ensure!(
        process["exe_sha256"].as_str().map(|hex| format!("sha256:{hex}")) == Some(digest),
        "the executable has another digest: {record:#}"
    );
    let client = &record["client"]["workload"];
    ensure!(
        client.is_object() && client["container_id"].is_null(),
        "the client is in no container: {record:#}"
    );
    Ok(())
}

/// The weights' digest is computed beside the agent; the first record may be without.
fn digest_known(records: &[Value]) -> bool {
    !of_type(records, "model").is_empty()
}

fn recorded(started_first: bool) -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    if live::skip() || live::prerequisite(Container::prepare()).is_none() {
        return Ok(());
    }
    let (dir, folder) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let weights = folder.path().join("tiny.gguf");
    model::write(&weights)?;
    let options = Options {
        dir: dir.path(),
        output: "json",
        config: PLAIN_HASHES,
    };
    let (container, mut agent) = if started_first {
        let container = serve("audit-agent-older", &weights)?;
        (container, Agent::start(options)?)
    } else {
        let agent = Agent::start(options)?;
        (serve("audit-agent-newer", &weights)?, agent)
    };
    ask(&container, "before the digest")?;
    agent.wait_for("the digest of the weights", LIMIT, digest_known)?;
    let prompt = canonical_hash(&ask(&container, "who runs me?")?)?;
    let records = agent.wait_for("the record", LIMIT, |records| {
        with_prompt(records, &prompt).is_ok()
    })?;
    check(with_prompt(&records, &prompt)?, &container, &weights)?;
    agent.terminate()
}

#[test]
fn a_server_in_a_container_that_is_older_than_the_agent_is_recorded_with_what_it_runs_in() -> Result<()> {
    recorded(true)
}

#[test]
fn a_container_that_starts_later_is_recorded_as_well() -> Result<()> {
    recorded(false)
}
