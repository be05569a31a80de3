//! What rights the agent's processes keep, and how few it can be given.

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::{curl, curl_tls};
use audit_tests::command::{TestCommand, binary, reachable_copy};
use audit_tests::process::Guard;
use audit_tests::record::of_type;
use audit_tests::rights::{self, Expected};
use audit_tests::slm::server::LlamaServer;
use audit_tests::tls::llama::LlamaTls;
use audit_tests::tls::{Certificate, TlsServer};
use audit_tests::{live, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The agents of this file see each other's servers, so they take turns.
static STAGE: Mutex<()> = Mutex::new(());

const LIMIT: Duration = Duration::from_secs(30);
const BODY: &str = r#"{"prompt":"go","n_predict":2}"#;
/// An account that exists nowhere.
const SERVICE: u32 = 47_110;

const FOUR_AND_PROBES: [u64; 5] = [
    rights::DAC_READ_SEARCH,
    rights::SYS_PTRACE,
    rights::PERFMON,
    rights::BPF,
    rights::SYS_ADMIN,
];
const KEPT_AND_PROBES: [u64; 6] = [
    rights::DAC_READ_SEARCH,
    rights::SYS_PTRACE,
    rights::PERFMON,
    rights::BPF,
    rights::CHECKPOINT_RESTORE,
    rights::SYS_ADMIN,
];

fn stage() -> Option<MutexGuard<'static, ()>> {
    (!live::skip()).then(|| STAGE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn start(dir: &Path, config: &str) -> Result<Agent> {
    Agent::start(Options {
        dir,
        output: "json",
        config,
    })
}

/// An agent that a service manager starts: not root, and only these capabilities.
fn service(dir: &Path, capabilities: &'static [u64]) -> Result<Command> {
    let program = reachable_copy(dir)?;
    let mut command = Command::new(program);
    command.args(["run", "--output", "json", "--dir"]).arg(dir);
    rights::give(dir, SERVICE)?;
    rights::start_with(&mut command, SERVICE, capabilities);
    Ok(command)
}

/// Makes one call and waits until it was recorded whole.
fn captures(agent: &mut Agent, server: &LlamaServer) -> Result<()> {
    let answer = curl(&(server.url() + "/completion"), BODY, &[])?;
    ensure!(answer.status == 200, "{answer:?}");
    recorded(agent, server.pid())
}

fn recorded(agent: &mut Agent, server: u32) -> Result<()> {
    let ours = |record: &&Value| {
        record["server"]["process"]["pid"] == server
            && record["status"] == 200
            && record["capture"]["state"] == "complete"
    };
    let any = |records: &[Value]| of_type(records, "inference").iter().any(ours);
    agent.wait_for("the call's record", LIMIT, any).map(drop)
}

fn verify(dir: &Path) -> Result<()> {
    let files: [PathBuf; 3] = [dir.join("log"), "--key".into(), dir.join("keys/log.pub")];
    // Declared gaps have an exit status of their own.
    let output = TestCommand::new(dir)?.args(["verify"]).args(files).output()?;
    let said = String::from_utf8(output.stdout)?;
    ensure!(said.contains("INTACT"), "{said}");
    Ok(())
}

fn down(log: &[Value]) -> usize {
    let gaps = of_type(log, "gap");
    gaps.iter().filter(|gap| gap["where"] == "agent_down").count()
}

/// Mode and owner.
fn owned(path: &Path) -> Result<(u32, u32)> {
    let meta = std::fs::metadata(path).with_context(|| format!("{}", path.display()))?;
    Ok((meta.mode() & 0o777, meta.uid()))
}

#[test]
fn an_agent_that_root_starts_keeps_no_more_than_it_needs() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = LlamaServer::start(&[])?;
    for (config, uid) in [("", rights::UNNAMED), ("[process]\nuser = \"47111\"\n", 47_111)] {
        let mut agent = start(dir.path(), config)?;
        captures(&mut agent, &server)?;
        let monitor = Expected {
            uid,
            effective: &rights::KEPT,
            dormant: &[rights::SYS_ADMIN],
            bounding: &[],
        };
        rights::check(agent.pid(), &monitor)?;
        let worker = Expected {
            effective: &[],
            dormant: &[],
            ..monitor
        };
        rights::check(rights::worker(&agent)?, &worker)?;
        let kept = TestCommand::new(dir.path())?.args(["doctor"]).stdout()?;
        ensure!(
            kept.contains(&format!("audit-worker({})", rights::worker(&agent)?)),
            "{kept}"
        );
        agent.stop()?;
        for (file, mode) in [
            ("keys", 0o700),
            ("keys/log.key", 0o600),
            ("keys/hash.key", 0o600),
            ("keys/log.pub", 0o644),
            ("log", 0o750),
            ("log/checkpoint", 0o640),
            ("log/records/000000000000.jsonl", 0o640),
        ] {
            ensure!(owned(&dir.path().join(file))? == (mode, uid), "{file}");
        }
    }
    verify(dir.path())
}

#[test]
fn four_capabilities_and_no_root_are_enough() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = LlamaServer::start(&[])?;
    let mut agent = Agent::start_command(&mut service(dir.path(), &rights::FOUR)?, dir.path())?;
    captures(&mut agent, &server)?;
    let later = LlamaServer::start(&[])?;
    captures(&mut agent, &later)?;
    let monitor = Expected {
        uid: SERVICE,
        effective: &rights::FOUR,
        dormant: &[],
        bounding: &rights::FOUR,
    };
    rights::check(agent.pid(), &monitor)?;
    let worker = Expected {
        effective: &[],
        ..monitor
    };
    rights::check(rights::worker(&agent)?, &worker)?;
    agent.stop()?;
    verify(dir.path())
}

#[test]
fn tls_is_seen_into_without_root() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    if live::prerequisite(LlamaTls::prepare()).is_none() {
        return Ok(());
    }
    let certificate = Certificate::create()?;
    let server = LlamaTls::start(&certificate, &[])?;
    // Kernels since 2025 want CAP_SYS_ADMIN for a probe; without CAP_CHECKPOINT_RESTORE files are reached another way.
    let few: [(&'static [u64], bool); 3] = [
        (&rights::FOUR, false),
        (&FOUR_AND_PROBES, true),
        (&KEPT_AND_PROBES, true),
    ];
    for (capabilities, surely) in few {
        let dir = tempfile::tempdir()?;
        let mut agent = Agent::start_command(&mut service(dir.path(), capabilities)?, dir.path())?;
        let refused = agent
            .stderr()
            .contains("without CAP_SYS_ADMIN, and it is missing");
        ensure!(!(surely && refused), "{}", agent.stderr());
        if !refused {
            let answer = curl_tls(&(server.url() + "/completion"), &server.ca(), BODY, &[])?;
            ensure!(answer.status == 200, "{answer:?}");
            recorded(&mut agent, server.pid())?;
        }
        agent.stop()?;
    }
    Ok(())
}

/// Between sessions a nice value of a process does not count (sched(7)), and a service manager gives each service one.
#[test]
fn servers_go_before_an_agent_that_has_a_session_of_its_own() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let mut command = Command::new("setsid");
    command.arg(binary()?).args(["run", "--output", "json", "--dir"]);
    let mut agent = Agent::start_command(command.arg(dir.path()), dir.path())?;
    let process = PathBuf::from(format!("/proc/{}", agent.pid()));
    // The 19th field; the name before it has no space.
    let stat = std::fs::read_to_string(process.join("stat"))?;
    ensure!(stat.split(' ').nth(18) == Some("10"), "{stat}");
    if let Ok(session) = std::fs::read_to_string(process.join("autogroup")) {
        ensure!(session.trim_end().ends_with("nice 10"), "{session}");
    }
    agent.stop().map(drop)
}

#[test]
fn each_capability_that_is_missing_is_named() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    const WITHOUT: [(&str, &[u64]); 4] = [
        (
            "CAP_DAC_READ_SEARCH",
            &[rights::SYS_PTRACE, rights::PERFMON, rights::BPF],
        ),
        (
            "CAP_SYS_PTRACE",
            &[rights::DAC_READ_SEARCH, rights::PERFMON, rights::BPF],
        ),
        (
            "CAP_PERFMON",
            &[rights::DAC_READ_SEARCH, rights::SYS_PTRACE, rights::BPF],
        ),
        (
            "CAP_BPF",
            &[rights::DAC_READ_SEARCH, rights::SYS_PTRACE, rights::PERFMON],
        ),
    ];
    for (name, rest) in WITHOUT {
        let output = service(dir.path(), rest)?.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2),
            "{name}: {}: {said}",
            output.status
        );
        ensure!(said.contains(&format!("missing {name}:")), "{said}");
    }
    Ok(())
}

#[test]
fn a_folder_that_the_account_may_not_write_is_named() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed)?;
    std::fs::set_permissions(&closed, Permissions::from_mode(0o555))?;
    rights::give(&closed, SERVICE)?;
    let mut command = Command::new(reachable_copy(dir.path())?);
    command.args(["run", "--dir"]).arg(&closed);
    rights::start_with(&mut command, SERVICE, &rights::FOUR);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(2), "{}: {said}", output.status);
    let named = format!("{} cannot be made", closed.join("keys").display());
    ensure!(said.contains(&named) && said.contains("--dir"), "{said}");
    Ok(())
}

/// systemd gives credentials to who starts a service, in a folder that is closed to others.
#[test]
fn a_credential_that_only_root_may_read_is_the_log_s_key() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("credentials");
    std::fs::create_dir(&folder)?;
    let credential = folder.join("audit-agent.log-key");
    std::fs::write(&credential, [0x5a; 32])?;
    std::fs::set_permissions(&credential, Permissions::from_mode(0o400))?;
    std::fs::set_permissions(&folder, Permissions::from_mode(0o500))?;
    let mut command = Command::new(binary()?);
    command.args(["run", "--output", "json", "--dir"]).arg(dir.path());
    command.env("CREDENTIALS_DIRECTORY", &folder);
    Agent::start_command(&mut command, dir.path())?.stop()?;
    ensure!(
        !dir.path().join("keys/log.key").exists(),
        "the agent made a key of its own"
    );
    verify(dir.path())
}

#[test]
fn when_one_process_is_killed_the_other_ends_and_the_log_says_so() -> Result<()> {
    let Some(_stage) = stage() else { return Ok(()) };
    let dir = tempfile::tempdir()?;
    let server = LlamaServer::start(&[])?;

    let mut agent = start(dir.path(), "")?;
    captures(&mut agent, &server)?;
    let worker = rights::worker(&agent)?;
    kill(Pid::from_raw(i32::try_from(worker)?), Signal::SIGKILL)?;
    ensure!(!agent.ended(LIMIT)?.success(), "{}", agent.stderr());
    ensure!(
        agent.stderr().contains("the worker was ended by SIGKILL"),
        "{}",
        agent.stderr()
    );

    let mut agent = start(dir.path(), "")?;
    captures(&mut agent, &server)?;
    let worker = rights::worker(&agent)?;
    kill(Pid::from_raw(i32::try_from(agent.pid())?), Signal::SIGKILL)?;
    agent.ended(LIMIT)?;
    rights::gone(worker, LIMIT)?;
    ensure!(
        agent
            .stderr()
            .contains("the process that holds the kernel programs has ended"),
        "{}",
        agent.stderr()
    );

    let log = start(dir.path(), "")?.stop()?;
    ensure!(down(&log) == 2, "{} gaps declared for 2 kills", down(&log));
    verify(dir.path())
}

/// Looked at while it waits for a pipe to be written.
#[test]
fn a_command_that_reads_files_gives_up_what_it_does_not_need() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let pipe = dir.path().join("log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
    let waiting: [&[&str]; 2] = [&["verify", "nowhere", "--key"], &["replay", "--dir", "nowhere"]];
    for arguments in waiting {
        let command = &mut Command::new(binary()?);
        let process = Guard::spawn(command.args(arguments).arg(&pipe))?;
        wait::until("the filter", LIMIT, || {
            Ok((rights::row(process.pid(), "Seccomp")? == "2").then_some(()))
        })?;
        let kept = rights::row(process.pid(), "CapPrm")?;
        let opening = rights::set(&[rights::DAC_OVERRIDE, rights::DAC_READ_SEARCH]);
        ensure!(kept == opening, "{arguments:?} keeps {kept}");
        ensure!(rights::row(process.pid(), "NoNewPrivs")? == "1");
    }
    Ok(())
}
