//! The process of the agent that has its log cosigned: that it does, and that it can do nothing else.

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::command::{TestCommand, binary, reachable_copy};
use audit_tests::process::{Guard, free_port};
use audit_tests::rights::{self, Expected};
use audit_tests::{live, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The agents of this file see each other's witnesses, so they take turns.
static STAGE: Mutex<()> = Mutex::new(());

const LIMIT: Duration = Duration::from_secs(60);
/// Who reads the log of an agent that root started, and its group.
const READER: u32 = 60_912;
const GROUP: &str = "60911 60911 60911 60911";
/// An account that exists nowhere.
const SERVICE: u32 = 47_110;

fn stage() -> Option<MutexGuard<'static, ()>> {
    (!live::skip()).then(|| STAGE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn end(pid: u32) -> Result<()> {
    Ok(kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?)
}

/// A witness of the agent in a folder, and the configuration by which the agent asks it.
#[derive(Debug)]
struct Witness {
    _process: Guard,
    config: String,
    policy: PathBuf,
}

impl Witness {
    /// Knows the log that an agent has begun in `dir`.
    fn start(dir: &Path) -> Result<Self> {
        Agent::start(Options {
            dir,
            output: "none",
            config: "",
        })?
        .stop()?;
        let port = free_port()?;
        let mut command = Command::new(binary()?);
        command.args(["witness", "--name", "witness.example", "--dir"]);
        command.arg(dir.join("witness")).arg("--log");
        command.arg(dir.join("keys/log.pub"));
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        let mut process = Guard::spawn(command.stdout(Stdio::piped()))?;
        let stdout = process.child_mut().stdout.take().context("it has a stdout")?;
        let mut key = String::new();
        BufReader::new(stdout).read_line(&mut key)?;
        let policy = dir.join("policy");
        // By name, so that names are resolved.
        let text = format!("witness w {} http://localhost:{port}\nquorum w\n", key.trim());
        std::fs::write(&policy, text)?;
        Ok(Self {
            _process: process,
            config: format!("[log]\nwitness_policy = \"{}\"\n", policy.display()),
            policy,
        })
    }
}

fn size(note: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(note).ok()?;
    text.lines().nth(1)?.parse().ok()
}

/// Waits for a cosigned checkpoint over more than `lines`.
fn cosigned(dir: &Path, agent: &Agent, lines: u64) -> Result<()> {
    let note = dir.join("log/checkpoint.cosigned");
    wait::until("a newer cosigned checkpoint", LIMIT, || {
        Ok(size(&note).filter(|size| *size > lines).map(drop))
    })
    .with_context(|| agent.stderr())
}

/// What the descriptors of a process lead to in `dir`, and all its sockets and other objects of the kernel. What the test itself was
/// started with comes along and is left out.
fn open_files(pid: u32, dir: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let target = std::fs::read_link(entry?.path())?;
        let shown = target.display().to_string();
        if target.starts_with(dir)
            || ["socket:", "anon_inode:"]
                .iter()
                .any(|kind| shown.starts_with(kind))
        {
            found.push(shown);
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn a_log_is_cosigned_through_a_process_that_can_only_read_it() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let witness = Witness::start(dir.path())?;
    let before = size(&dir.path().join("log/checkpoint")).context("there is a checkpoint")?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: &witness.config,
    })?;
    cosigned(dir.path(), &agent, before)?;
    let asker = rights::asker(&agent)?;
    let expected = Expected {
        uid: READER,
        effective: &[],
        dormant: &[],
        bounding: &[],
    };
    rights::check(asker, &expected)?;
    ensure!(rights::row(asker, "Gid")? == GROUP);
    let open = open_files(asker, dir.path())?;
    ensure!(
        matches!(open.as_slice(), [log, channel] if log.ends_with("/log") && channel.starts_with("socket:")),
        "{open:?}"
    );
    let kept = TestCommand::new(dir.path())?.args(["doctor"]).stdout()?;
    ensure!(kept.contains(&format!("audit-witnesses({asker})")), "{kept}");
    agent.stop()?;
    rights::gone(asker, LIMIT)?;
    let files: [PathBuf; 5] = [
        dir.path().join("log"),
        "--key".into(),
        dir.path().join("keys/log.pub"),
        "--policy".into(),
        witness.policy.clone(),
    ];
    // The last records of a run are cosigned in the next one, so that this log is more than its cosigned part.
    let output = TestCommand::new(dir.path())?
        .args(["verify"])
        .args(files)
        .output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(said.contains("w cosigned") && said.contains("INTACT"), "{said}");
    Ok(())
}

#[test]
fn a_log_is_cosigned_without_root() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let witness = Witness::start(dir.path())?;
    for folder in ["keys", "log"] {
        let status = Command::new("chown")
            .args(["-R", &format!("{SERVICE}:{SERVICE}")])
            .arg(dir.path().join(folder))
            .status()?;
        ensure!(status.success());
    }
    rights::give(dir.path(), SERVICE)?;
    let config = dir.path().join("service.toml");
    std::fs::write(&config, &witness.config)?;
    let mut command = Command::new(reachable_copy(dir.path())?);
    command.args(["run", "--output", "json", "--dir"]).arg(dir.path());
    command.arg("--config").arg(config);
    rights::start_with(&mut command, SERVICE, &rights::FOUR);
    let mut agent = Agent::start_command(&mut command, dir.path())?;
    cosigned(dir.path(), &agent, 0)?;
    let expected = Expected {
        uid: SERVICE,
        effective: &[],
        dormant: &[],
        bounding: &rights::FOUR,
    };
    rights::check(rights::asker(&agent)?, &expected)?;
    agent.stop().map(drop)
}

#[test]
fn who_asks_ends_with_the_agent_and_an_end_of_its_own_is_said() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let witness = Witness::start(dir.path())?;
    let options = Options {
        dir: dir.path(),
        output: "json",
        config: &witness.config,
    };

    let mut agent = Agent::start(options)?;
    end(rights::asker(&agent)?)?;
    wait::until("the alarm", LIMIT, || {
        let said = agent
            .stderr()
            .contains("ALARM: the process that asks the witnesses");
        Ok(said.then_some(()))
    })?;
    // The run goes on, and ends in order.
    agent.stop()?;

    let mut agent = Agent::start(options)?;
    let asker = rights::asker(&agent)?;
    end(rights::worker(&agent)?)?;
    ensure!(!agent.ended(LIMIT)?.success());
    rights::gone(asker, LIMIT)
}
