//! The `audit-agent` binary as a user runs it: in a fresh folder, everything shown when an expectation fails.

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Names the binary to test; `cargo xtask test` sets it.
pub const BINARY: &str = "AUDIT_AGENT_BIN";

/// The overflow user and group, who own nothing.
const NOBODY: &str = "65534";

/// The binary under test: [`BINARY`], else what cargo builds now for the profile of this test.
pub fn binary() -> Result<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find_binary().map_err(|error| format!("{error:#}")));
    found.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY) {
        return std::fs::canonicalize(&path).with_context(|| format!("{BINARY} names {path:?}"));
    }
    // This executable is target/PROFILE/NAME or target/PROFILE/deps/NAME.
    let this = std::env::current_exe()?;
    let folder = this.parent().context("an executable is in a folder")?;
    let folder = if folder.ends_with("deps") {
        folder.parent().context("deps is in a folder")?
    } else {
        folder
    };
    let path = folder.join("audit-agent");
    if !path.exists() {
        build()?;
    }
    Ok(path)
}

fn build() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--package", "audit-agent"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().context("running cargo build")?;
    if !status.success() {
        bail!("building audit-agent failed with {status}; build it and set {BINARY}");
    }
    Ok(())
}

/// One run of the binary.
#[derive(Debug)]
pub struct TestCommand {
    command: Command,
    dir: PathBuf,
}

impl TestCommand {
    /// Runs with `dir` as its current folder.
    pub fn new(dir: &Path) -> Result<Self> {
        Ok(Self::with_command(Command::new(binary()?), dir))
    }

    /// Runs as nobody, without capabilities. None where that takes a right or a tool that is missing, or
    /// nobody cannot reach the binary.
    pub fn unprivileged(dir: &Path) -> Result<Option<Self>> {
        if !Uid::effective().is_root() {
            return Self::new(dir).map(Some);
        }
        let dropped = || {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid",
                NOBODY,
                "--regid",
                NOBODY,
                "--clear-groups",
                "--bounding-set=-all",
            ]);
            command
        };
        let copy = reachable_copy(dir)?;
        let works = dropped()
            .args(["test", "-x"])
            .arg(&copy)
            .status()
            .is_ok_and(|status| status.success());
        let mut command = dropped();
        command.arg(copy);
        Ok(works.then(|| Self::with_command(command, dir)))
    }

    fn with_command(mut command: Command, dir: &Path) -> Self {
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .env_remove("RUST_LOG");
        Self {
            command,
            dir: dir.to_path_buf(),
        }
    }

    pub fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs to the end; whatever the status.
    pub fn output(&mut self) -> Result<Output> {
        self.command
            .output()
            .with_context(|| format!("running {:?}", self.command))
    }

    /// Runs, and gives stdout when the status is 0.
    pub fn stdout(&mut self) -> Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            bail!("expected success\n{}", self.report(&output));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Runs, and checks that it fails with an exit code (no signal, no panic) and says each of `words`,
    /// whatever their case, on stderr.
    pub fn fails_saying(&mut self, words: &[&str]) -> Result<()> {
        let output = self.output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).to_lowercase();
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !stderr.contains(&word.to_lowercase()))
            .collect();
        let failed = output.status.code().is_some_and(|code| code != 0);
        if !failed || !missing.is_empty() || stderr.contains("panicked at") {
            bail!(
                "expected a failure without panic that says {missing:?}\n{}",
                self.report(&output)
            );
        }
        Ok(())
    }

    fn report(&self, output: &Output) -> String {
        let mut report = format!("command: {:?}\ncwd: {:?}\nfiles:\n", self.command, self.dir);
        list(&self.dir, &mut report);
        let _ = write!(
            report,
            "status: {}\nstdout: {}\nstderr: {}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        report
    }
}

/// The binary where everybody can execute it: a build folder may be closed to others.
pub fn reachable_copy(dir: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let copy = dir.join("audit-agent-copy");
    if !copy.exists() {
        std::fs::copy(binary()?, &copy)?;
    }
    for path in [dir, &copy] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(copy)
}

fn list(dir: &Path, report: &mut String) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let _ = writeln!(report, "  {}", entry.path().display());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list(&entry.path(), report);
        }
    }
}
