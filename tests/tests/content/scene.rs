//! An agent that stores what is said with a real server, and who may read it.
//!
//! In: what users ask. Out: records, and what `show`, `erase`, `verify`, `prove` and `age` say of them. Never: an expectation.

use anyhow::{Context, Result, bail, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::curl;
use audit_tests::command::TestCommand;
use audit_tests::live;
use audit_tests::record::of_type;
use audit_tests::slm::server::LlamaServer;
use audit_tests::wait;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// While the agent runs, records may be behind the last checkpoint.
const BEHIND: i32 = 4;

/// An agent that stores content, and who may read it.
pub struct Scene {
    pub dir: tempfile::TempDir,
    /// Elsewhere, as it should be.
    pub away: tempfile::TempDir,
    pub server: LlamaServer,
}

impl Scene {
    fn new() -> Result<Self> {
        let scene = Self {
            dir: tempfile::tempdir()?,
            away: tempfile::tempdir()?,
            server: LlamaServer::start(&[])?,
        };
        let recipient = scene
            .command(&["content", "keygen", "--out"])?
            .args([scene.identity()])
            .stdout()?;
        fs::write(scene.away.path().join("recipient"), recipient.trim())?;
        Ok(scene)
    }

    pub fn identity(&self) -> PathBuf {
        self.away.path().join("identity.txt")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Result<TestCommand> {
        Ok(TestCommand::new(self.away.path())?.args(args))
    }

    pub fn agent(&self, mode: &str, more: &str) -> Result<Agent> {
        let recipient = fs::read_to_string(self.away.path().join("recipient"))?;
        let config = format!("[content]\nmode = \"{mode}\"\nrecipients = [\"{recipient}\"]\n{more}");
        Agent::start(Options {
            dir: self.dir.path(),
            output: "json",
            config: &config,
        })
    }

    /// A call in the name of `user`; its record.
    pub fn ask(&self, agent: &mut Agent, user: &str, prompt: &str) -> Result<Value> {
        let body = json!({"messages": [{"role": "user", "content": prompt}], "max_tokens": 8}).to_string();
        let answer = curl(
            &(self.server.url() + "/v1/chat/completions"),
            &body,
            &["-H", &format!("x-user-id: {user}")],
        )?;
        let port = answer.port;
        let records = agent.wait_for("the record of the call", LIMIT, |records| {
            of_type(records, "inference")
                .iter()
                .any(|record| record["client"]["port"] == port)
        })?;
        let found = records
            .into_iter()
            .rfind(|record| record["client"]["port"] == port);
        found.context("it was there")
    }

    pub fn show(&self, record: &Value) -> Result<TestCommand> {
        let seq = record["seq"].to_string();
        Ok(self
            .command(&["show", &seq, "--content", "--identity"])?
            .args([self.identity()])
            .args(["--dir"])
            .args([self.dir.path()]))
    }

    pub fn erase(&self, how: &[&str]) -> Result<String> {
        self.command(&["erase"])?
            .args(how)
            .args(["--dir"])
            .args([self.dir.path()])
            .stdout()
    }

    /// `verify` ends with `status`, as soon as a checkpoint covers every record.
    pub fn verify(&self, status: i32, more: &[&str]) -> Result<()> {
        let what = format!("verify {more:?} ending with {status}");
        wait::until(&what, LIMIT, || {
            let mut command = self
                .command(&["verify", "--key"])?
                .args([self.path("keys/log.pub"), self.path("log")])
                .args(more);
            let output = command.output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            match output.status.code() {
                Some(BEHIND) => Ok(None),
                code if code == Some(status) => Ok(Some(())),
                code => bail!("it ended with {code:?}: {said}"),
            }
        })
    }

    pub fn prove(&self, record: &Value) -> Result<String> {
        let seq = record["seq"].to_string();
        self.command(&["prove", &seq, "--key"])?
            .args([self.path("keys/log.pub")])
            .args(["--log"])
            .args([self.path("log")])
            .stdout()
    }

    /// The words of docs/content.md, with another program than ours.
    pub fn age(&self, content: &Value) -> Result<String> {
        let text = |name: &str| content[name].as_str().context("stored content has a place");
        let script = format!(
            "set -e; age -d -i '{identity}' keys/{key}.age >'{away}/user.txt'; tar -xOf segments/{file} {member} | age -d -i '{away}/user.txt'",
            identity = self.identity().display(),
            away = self.away.path().display(),
            key = text("key_id")?,
            file = text("file")?,
            member = text("member")?,
        );
        let output = Command::new("bash")
            .args(["-o", "pipefail", "-c", &script])
            .current_dir(self.path("content"))
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The files under `dir` that hold `text`.
pub fn holding(dir: &Path, text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(holding(&path, text)?);
        } else if fs::read(&path)?
            .windows(text.len())
            .any(|window| window == text.as_bytes())
        {
            found.push(path);
        }
    }
    Ok(found)
}

/// None when this test has to end here.
pub fn scene() -> Option<Result<Scene>> {
    let age = || {
        let status = Command::new("age")
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        ensure!(
            status.is_ok_and(|status| status.success()),
            "age is not installed"
        );
        Ok(())
    };
    if live::skip() {
        return None;
    }
    live::prerequisite(age())?;
    Some(Scene::new())
}
