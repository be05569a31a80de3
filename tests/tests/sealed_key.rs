//! The log's key sealed to a TPM: a software TPM, and systemd's own tool for credentials, as a unit with
//! `LoadCredentialEncrypted=` uses them. The agent is given what systemd gives a service: a folder with the opened credential.

use anyhow::{Context, Result, bail, ensure};
use audit_tests::command::{TestCommand, binary};
use audit_tests::process::{Guard, free_port};
use audit_tests::{live, wait};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Name of the credential; `docs/ledger.md` tells operators.
const CREDENTIAL: &str = "audit-agent.log-key";
const LIMIT: Duration = Duration::from_secs(20);

/// A TPM 2.0 that keeps its state in a folder.
struct Tpm {
    device: String,
    _process: Guard,
}

impl Tpm {
    fn start(state: &Path) -> Result<Self> {
        fs::create_dir_all(state)?;
        let (server, control) = two_ports()?;
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.args(["--tpmstate", &format!("dir={}", state.display())]);
        command.args(["--server", &format!("type=tcp,port={server}")]);
        command.args(["--ctrl", &format!("type=tcp,port={control}")]);
        let process = Guard::spawn(command.stdin(Stdio::null()))?;
        // A connection would be the TPM's only one: whether it listens is asked of the kernel.
        let listens = [server, control].map(|port| format!(":{port:04X} 00000000:0000 0A"));
        wait::until("the TPM listening", LIMIT, || {
            let sockets = fs::read_to_string("/proc/net/tcp")?;
            Ok(listens.iter().all(|one| sockets.contains(one)).then_some(()))
        })?;
        Ok(Self {
            device: format!("swtpm:host=127.0.0.1,port={server}"),
            _process: process,
        })
    }

    fn credentials(&self, verb: &str, from: &Path, to: &Path) -> Result<Output> {
        let mut command = Command::new("systemd-creds");
        command.args([verb, "--tpm2-pcrs=7", "--with-key=tpm2"]);
        command.args([
            format!("--tpm2-device={}", self.device),
            format!("--name={CREDENTIAL}"),
        ]);
        command
            .args([from, to])
            .output()
            .context("systemd-creds cannot be run")
    }
}

/// Free ports one after the other: clients expect a TPM's control port behind its own.
fn two_ports() -> Result<(u16, u16)> {
    for _ in 0..100 {
        let first = free_port()?;
        if let Some(second) = first.checked_add(1)
            && TcpListener::bind(("127.0.0.1", second)).is_ok()
        {
            return Ok((first, second));
        }
    }
    bail!("no two ports in a row are free")
}

/// Whether the tools are there; where tests may not be skipped they have to be.
fn tools() -> Result<bool> {
    let there = |name: &str| {
        Command::new(name)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok()
    };
    let there = there("swtpm") && there("systemd-creds");
    ensure!(
        there || std::env::var_os(live::REQUIRE).is_none(),
        "swtpm or systemd-creds is missing"
    );
    Ok(there)
}

fn replay(dir: &Path, log: &str, credentials: Option<&Path>) -> Result<Output> {
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/llama-server.acap");
    let mut command = Command::new(binary()?);
    command.current_dir(dir).arg("replay").arg(capture);
    command.args(["--dir", "state", "--output", "none", "--log", log]);
    match credentials {
        Some(folder) => command.env("CREDENTIALS_DIRECTORY", folder),
        None => command.env_remove("CREDENTIALS_DIRECTORY"),
    };
    Ok(command.output()?)
}

#[test]
fn a_log_key_that_a_tpm_sealed_signs_and_is_in_no_file_of_the_agent() -> Result<()> {
    if !tools()? {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let (secret, sealed, folder) = (at("secret"), at("sealed"), at("credentials"));
    fs::write(&secret, [0x5a; 32])?;
    fs::create_dir(&folder)?;
    let tpm = Tpm::start(&at("tpm"))?;
    let output = tpm.credentials("encrypt", &secret, &sealed)?;
    ensure!(output.status.success(), "{output:?}");
    let opened = folder.join(CREDENTIAL);
    let output = tpm.credentials("decrypt", &sealed, &opened)?;
    ensure!(output.status.success(), "{output:?}");
    fs::set_permissions(&opened, fs::Permissions::from_mode(0o400))?;

    let output = replay(dir.path(), "log", Some(&folder))?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(
        !at("state/keys/log.key").exists(),
        "the agent made a key file of its own"
    );
    let mut verify = TestCommand::new(dir.path())?.args(["verify", "log", "--key", "state/keys/log.pub"]);
    let output = verify.output()?;
    ensure!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");

    // Another machine's TPM does not open it.
    let other = Tpm::start(&at("other-tpm"))?;
    let output = other.credentials("decrypt", &sealed, &at("stolen"))?;
    ensure!(!output.status.success() && !at("stolen").exists(), "{output:?}");
    Ok(())
}

#[test]
fn without_its_credential_the_log_gets_another_key_which_verify_tells() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let at = |name: &str| dir.path().join(name);
    let folder = at("credentials");
    fs::create_dir(&folder)?;
    fs::write(folder.join(CREDENTIAL), [0x5a; 32])?;
    fs::set_permissions(folder.join(CREDENTIAL), fs::Permissions::from_mode(0o400))?;
    ensure!(replay(dir.path(), "log", Some(&folder))?.status.success());
    fs::rename(at("state/keys/log.pub"), at("pinned.pub"))?;
    ensure!(replay(dir.path(), "later", None)?.status.success());
    let mut verify = TestCommand::new(dir.path())?.args(["verify", "later", "--key", "pinned.pub"]);
    ensure!(
        verify.output()?.status.code() == Some(7),
        "another key passes for the pinned one"
    );
    Ok(())
}
