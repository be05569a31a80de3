//! What an auditor does with a log, by the command line and by tools that are not ours.

use anyhow::{Context, Result, ensure};
use audit_tests::command::{TestCommand, binary};
use audit_tests::process::Guard;
use audit_tests::wait;
use nix::sys::signal::Signal;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(20);

/// A log that a real capture replays to, in `log/`, with its keys in `state/keys/`.
fn log() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/llama-server.acap");
    let mut command = TestCommand::new(dir.path())?.args(["replay".as_ref(), capture.as_os_str()]);
    command = command.args(["--dir", "state", "--log", "log", "--output", "none"]);
    command.stdout()?;
    Ok(dir)
}

fn key(dir: &TempDir) -> PathBuf {
    dir.path().join("state/keys/log.pub")
}

fn run(dir: &TempDir, args: &[&str]) -> Result<Output> {
    TestCommand::new(dir.path())?
        .args(args)
        .args(["--key".into(), key(dir)])
        .output()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn expect(output: &Output, code: i32) -> Result<()> {
    ensure!(
        output.status.code() == Some(code),
        "not {code}: {} {}",
        output.status,
        said(output)
    );
    Ok(())
}

#[test]
fn two_replays_make_the_same_log_with_the_same_checkpoint() -> Result<()> {
    let dir = log()?;
    let capture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/captures/llama-server.acap");
    let mut again = TestCommand::new(dir.path())?.args(["replay".as_ref(), capture.as_os_str()]);
    again = again.args(["--dir", "state", "--log", "again", "--output", "none"]);
    again.stdout()?;
    for file in ["checkpoint", "records/000000000000.jsonl"] {
        let one = fs::read(dir.path().join("log").join(file))?;
        ensure!(
            one == fs::read(dir.path().join("again").join(file))?,
            "{file} differs"
        );
    }
    Ok(())
}

#[test]
fn a_log_verifies_as_a_directory_as_a_file_and_over_the_network() -> Result<()> {
    let dir = log()?;
    let intact = run(&dir, &["verify", "log", "--output", "json"])?;
    ensure!(matches!(intact.status.code(), Some(0 | 3)), "{}", said(&intact));
    let file = "log/records/000000000000.jsonl";
    expect(&run(&dir, &["verify", file])?, 4)?;
    let with_checkpoint = run(&dir, &["verify", file, "--checkpoint", "log/checkpoint"])?;
    ensure!(
        with_checkpoint.status.code() == intact.status.code(),
        "{}",
        said(&with_checkpoint)
    );
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let listen = format!("127.0.0.1:{port}");
    let mut serve = Command::new(binary()?);
    serve
        .args(["serve", "--listen", &listen, "--log"])
        .arg(dir.path().join("log"));
    let _server = Guard::spawn(&mut serve)?;
    wait::until("the log being served", LIMIT, || {
        Ok(TcpStream::connect(&listen).ok().map(drop))
    })?;
    let remote = run(&dir, &["verify", &format!("http://{listen}")])?;
    ensure!(remote.status.code() == intact.status.code(), "{}", said(&remote));
    Ok(())
}

#[test]
fn what_cannot_be_read_has_its_own_exit_status() -> Result<()> {
    let dir = log()?;
    expect(&run(&dir, &["verify", "nowhere"])?, 2)?;
    fs::create_dir(dir.path().join("empty"))?;
    expect(&run(&dir, &["verify", "empty"])?, 2)?;
    expect(&run(&dir, &["verify", "http://127.0.0.1:1/"])?, 2)
}

#[test]
fn a_reader_that_goes_away_is_no_panic() -> Result<()> {
    let dir = log()?;
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut verify = Command::new(binary()?);
    verify.arg("verify").arg(dir.path().join("log"));
    verify.arg("--key").arg(key(&dir));
    let output = verify.stdout(writer).stderr(Stdio::piped()).spawn()?;
    let output = output.wait_with_output()?;
    ensure!(
        output.status.signal() == Some(Signal::SIGPIPE as i32) && output.stderr.is_empty(),
        "{}: {}",
        output.status,
        said(&output)
    );
    Ok(())
}

fn check(bundle: &Path, key: &str) -> Result<Output> {
    let mut python = Command::new("python3");
    python.arg(bundle.join("check.py")).args(["--key", key]);
    python.output().context("python3 and openssl have to be there")
}

#[test]
fn evidence_is_checked_without_our_program() -> Result<()> {
    let dir = log()?;
    expect(
        &run(
            &dir,
            &[
                "export", "--log", "log", "--from", "2", "--to", "5", "--out", "evidence",
            ],
        )?,
        0,
    )?;
    let bundle = dir.path().join("evidence");
    let key = fs::read_to_string(key(&dir))?;
    let good = check(&bundle, &key)?;
    expect(&good, 0)?;
    let key_file = self::key(&dir).to_string_lossy().into_owned();
    expect(&check(&bundle, &key_file)?, 0)?;
    ensure!(said(&good).contains("GOOD: 4 records"), "{}", said(&good));
    ensure!(
        fs::read_to_string(bundle.join("report.md"))?.contains("| 5 |"),
        "the report lacks a record"
    );

    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    expect(&check(&bundle, other)?, 1)?;
    for file in [
        "records.jsonl",
        "epochs.jsonl",
        "proofs/3.tlog-proof",
        "proofs/0.tlog-proof",
    ] {
        let whole = fs::read(bundle.join(file))?;
        for at in [whole.len() / 3, whole.len() / 2] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(bundle.join(file), changed)?;
            expect(&check(&bundle, &key)?, 1).with_context(|| format!("{file} changed at {at}"))?;
        }
        fs::write(bundle.join(file), whole)?;
    }
    expect(&check(&bundle, &key)?, 0)
}

#[test]
fn a_proof_is_written_and_one_for_a_record_that_is_not_there_is_refused() -> Result<()> {
    let dir = log()?;
    let proof = run(&dir, &["prove", "3", "--log", "log"])?;
    expect(&proof, 0)?;
    ensure!(
        said(&proof).starts_with("c2sp.org/tlog-proof@v1\nindex 3\n"),
        "{}",
        said(&proof)
    );
    let none = run(&dir, &["prove", "999999", "--log", "log"])?;
    expect(&none, 2)?;
    ensure!(
        said(&none).contains("no checkpoint covers record 999999"),
        "{}",
        said(&none)
    );
    Ok(())
}
