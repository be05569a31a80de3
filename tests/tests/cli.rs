//! What a user sees who asks for something that cannot be done: an error that names the thing and the remedy.

use anyhow::{Result, ensure};
use audit_tests::command::TestCommand;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

/// A folder that other users may enter.
fn open_folder() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    Ok(dir)
}

/// A folder inside `dir` that everybody may write to.
fn writable(dir: &TempDir, name: &str) -> Result<String> {
    let path = dir.path().join(name);
    fs::create_dir(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o777))?;
    Ok(path.to_string_lossy().into_owned())
}

fn as_nobody(dir: &Path, args: &[&str], words: &[&str]) -> Result<()> {
    match TestCommand::unprivileged(dir)? {
        Some(command) => command.args(args).fails_saying(words),
        None => {
            println!("skipped: cannot become nobody here (setpriv is missing, or lacks the right)");
            Ok(())
        }
    }
}

#[test]
fn help_names_the_commands() -> Result<()> {
    let dir = open_folder()?;
    let help = TestCommand::new(dir.path())?.args(["--help"]).stdout()?;
    for command in [
        "run", "record", "replay", "verify", "doctor", "show", "content", "erase",
    ] {
        ensure!(help.contains(command), "{command} is missing in {help}");
    }
    Ok(())
}

#[test]
fn an_unknown_option_is_named_and_does_nothing() -> Result<()> {
    let dir = open_folder()?;
    let mut command = TestCommand::new(dir.path())?.args(["run", "--dir", "state", "--frobnicate"]);
    command.fails_saying(&["--frobnicate"])?;
    ensure!(
        command.output()?.status.code() == Some(2),
        "a usage error has exit code 2"
    );
    ensure!(
        !dir.path().join("state").exists(),
        "a refused command line must not leave a folder"
    );
    Ok(())
}

#[test]
fn without_privileges_run_says_which_it_needs() -> Result<()> {
    let dir = open_folder()?;
    let state = writable(&dir, "state")?;
    as_nobody(dir.path(), &["run", "--dir", &state], &["root", "CAP_BPF"])
}

#[test]
fn a_missing_configuration_is_named() -> Result<()> {
    let dir = open_folder()?;
    let args = ["run", "--dir", "state", "--config", "nowhere.toml"];
    TestCommand::new(dir.path())?
        .args(args)
        .fails_saying(&["nowhere.toml", "No such file"])
}

#[test]
fn an_unreadable_configuration_is_named() -> Result<()> {
    let dir = open_folder()?;
    let state = writable(&dir, "state")?;
    fs::write(dir.path().join("closed.toml"), "")?;
    fs::set_permissions(dir.path().join("closed.toml"), Permissions::from_mode(0o000))?;
    let args = ["run", "--dir", &state, "--config", "closed.toml"];
    as_nobody(dir.path(), &args, &["closed.toml", "Permission denied"])
}

#[test]
fn a_configuration_with_an_unknown_key_is_refused_with_its_place() -> Result<()> {
    let dir = open_folder()?;
    fs::write(dir.path().join("typo.toml"), "[privacy]\nhashh = \"sha256\"\n")?;
    let args = ["run", "--dir", "state", "--config", "typo.toml"];
    TestCommand::new(dir.path())?
        .args(args)
        .fails_saying(&["typo.toml", "hashh"])
}

#[test]
fn a_folder_that_cannot_be_made_is_named() -> Result<()> {
    let dir = open_folder()?;
    fs::write(dir.path().join("file"), "")?;
    let args = ["run", "--dir", "file/state"];
    TestCommand::new(dir.path())?
        .args(args)
        .fails_saying(&["file/state"])
}

#[test]
fn a_missing_log_is_named_by_verify() -> Result<()> {
    let dir = open_folder()?;
    let args = ["verify", "nowhere.jsonl", "--key", "nowhere.pub"];
    TestCommand::new(dir.path())?
        .args(args)
        .fails_saying(&["nowhere"])
}

#[test]
fn a_capture_that_is_none_is_refused_by_replay() -> Result<()> {
    let dir = open_folder()?;
    fs::write(dir.path().join("noise.acap"), [0x5a; 4096])?;
    let args = ["replay", "noise.acap", "--dir", "state", "--output", "json"];
    TestCommand::new(dir.path())?
        .args(args)
        .fails_saying(&["noise.acap"])
}
