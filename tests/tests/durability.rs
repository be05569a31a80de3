//! The log on a real disk that fails, under a real agent that is killed.

use anyhow::{Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::curl;
use audit_tests::command::TestCommand;
use audit_tests::live;
use audit_tests::record::of_type;
use audit_tests::slm::server::LlamaServer;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The agents of this file see each other's servers, so they take turns.
static STAGE: Mutex<()> = Mutex::new(());

const LIMIT: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"prompt":"go","n_predict":2}"#;

fn start(dir: &Path) -> Result<Agent> {
    Agent::start(Options {
        dir,
        output: "json",
        config: "",
    })
}

fn ask(server: &LlamaServer, times: usize) -> Result<()> {
    for _ in 0..times {
        let answer = curl(&(server.url() + "/completion"), BODY, &[])?;
        ensure!(answer.status == 200, "{answer:?}");
    }
    Ok(())
}

/// Waits until `count` calls to the server were recorded.
fn recorded(agent: &mut Agent, server: &LlamaServer, count: usize) -> Result<()> {
    let ours = |records: &[serde_json::Value]| {
        let calls = of_type(records, "inference");
        calls
            .iter()
            .filter(|record| record["server"]["process"]["pid"] == server.pid())
            .count()
    };
    agent
        .wait_for("records of the calls", LIMIT, |records| ours(records) >= count)
        .map(drop)
}

fn verify(dir: &Path) -> Result<String> {
    let arguments: [PathBuf; 3] = [dir.join("log"), "--key".into(), dir.join("keys/log.pub")];
    let output = TestCommand::new(dir)?.args(["verify"]).args(arguments).output()?;
    // Intact, or intact with declared gaps.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn a_killed_agent_says_so_when_it_returns() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir()?;
    let server = LlamaServer::start(&[])?;
    for _ in 0..3 {
        let mut agent = start(dir.path())?;
        ask(&server, 5)?;
        recorded(&mut agent, &server, 5)?;
        // Dropping it is a SIGKILL, at whatever it is doing.
        drop(agent);
    }
    let log = start(dir.path())?.stop()?;
    let down = of_type(&log, "gap")
        .into_iter()
        .filter(|gap| gap["where"] == "agent_down")
        .count();
    ensure!(down == 3, "{down} gaps declared for 3 kills");
    ensure!(verify(dir.path())?.contains("INTACT"));
    Ok(())
}

/// A file system of its own, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new() -> Result<Self> {
        let disk = Self(tempfile::tempdir()?);
        disk.mount("size=96k", MsFlags::empty())?;
        Ok(disk)
    }

    fn mount(&self, size: &str, flags: MsFlags) -> Result<()> {
        Ok(mount(
            Some("tmpfs"),
            self.0.path(),
            Some("tmpfs"),
            flags,
            Some(size),
        )?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_costs_no_record() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    const CALLS: usize = 60;
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = SmallDisk::new()?;
    let dir = disk.0.path();
    let server = LlamaServer::start(&[])?;
    let mut agent = start(dir)?;
    ask(&server, CALLS)?;
    recorded(&mut agent, &server, CALLS)?;
    audit_tests::wait::until("the agent saying that the disk is full", LIMIT, || {
        Ok(agent.stderr().contains("nothing is lost yet").then_some(()))
    })?;
    disk.mount("size=16m", MsFlags::MS_REMOUNT)?;
    let log = agent.stop()?;
    let calls = of_type(&log, "inference")
        .into_iter()
        .filter(|r| r["server"]["process"]["pid"] == server.pid());
    let calls = calls.count();
    ensure!(calls == CALLS, "{calls} of {CALLS} calls are in the log");
    ensure!(verify(dir)?.contains("INTACT"));
    Ok(())
}

/// In a mount namespace whose kernel seems to have no type information.
#[test]
fn a_kernel_without_btf_is_named_with_the_remedy() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let agent = audit_tests::command::binary()?;
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" run --dir \"$1\"";
    let mut unshare = std::process::Command::new("unshare");
    let output = unshare
        .args(["-m", "sh", "-c", script])
        .arg(agent)
        .arg(dir.path())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "it ran: {said}");
    ensure!(
        said.contains("/sys/kernel/btf/vmlinux") && said.contains("CONFIG_DEBUG_INFO_BTF"),
        "{said}"
    );
    Ok(())
}
