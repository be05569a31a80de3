//! apt with a state of its own: packages of several Debian releases are listed and unpacked, none is installed.
//!
//! In: the archives that this machine's apt is configured with. Out: package names, versions, unpacked files. Never:
//! root, or a change to the machine's own package lists.

use super::arch::Arch;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Releases that have kernels, oldest first; one that an archive does not carry is left out.
const SUITES: &[&str] = &[
    "bullseye",
    "bookworm",
    "bookworm-updates",
    "bookworm-backports",
    "trixie",
    "trixie-updates",
    "trixie-backports",
    "forky",
    "sid",
];
const SECURITY_SUITES: &[&str] = &["bullseye-security", "bookworm-security", "trixie-security"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[derive(Debug)]
pub struct Apt {
    options: Vec<String>,
    /// Its lists; packages are fetched here too.
    dir: PathBuf,
}

impl Apt {
    /// Sets the state up in `dir`.
    pub fn new(dir: &Path, arch: Arch) -> Result<Self> {
        for folder in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join("sources.list"), sources(arch)?)?;
        let (at, debian) = (dir.display(), arch.debian());
        let options = vec![
            format!("Dir::State={at}/state"),
            format!("Dir::Cache={at}/cache"),
            format!("Dir::Etc::sourcelist={at}/sources.list"),
            format!("APT::Architecture={debian}"),
            format!("APT::Architectures={debian}"),
            "Dir::State::status=/dev/null".into(),
            "Dir::Etc::sourceparts=/dev/null".into(),
            "Dir::Etc::preferences=/dev/null".into(),
            "Dir::Etc::preferencesparts=/dev/null".into(),
            "APT::Sandbox::User=root".into(),
            "Acquire::Languages=none".into(),
            "Acquire::Retries=3".into(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
            "Acquire::IndexTargets::deb::CNF::DefaultEnabled=false".into(),
        ];
        Ok(Self {
            options,
            dir: dir.into(),
        })
    }

    /// Fetches the package lists. A suite that is not there is no failure, an archive out of reach shows in what follows.
    pub fn update(&self) -> Result<()> {
        self.command("apt-get").arg("update").output()?;
        Ok(())
    }

    /// Lines `name | version | source` of every package whose name matches.
    pub fn versions(&self, pattern: &str) -> Result<String> {
        let names = text(
            self.command("apt-cache")
                .args(["search", "--names-only", pattern]),
        )?;
        let names: Vec<&str> = names.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(
            !names.is_empty(),
            "the archive has no package {pattern}; is it within reach? (`apt-get update` shows)"
        );
        text(self.command("apt-cache").arg("madison").args(names))
    }

    /// Fetches a package, `name` or `name=version`, and gives the folder with its files.
    pub fn unpack(&self, package: &str) -> Result<PathBuf> {
        let place = self.dir.join("packages").join(package);
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        text(
            self.command("apt-get")
                .args(["download", package])
                .current_dir(&place),
        )?;
        let file = fs::read_dir(&place)?
            .flatten()
            .next()
            .context("apt-get fetched nothing")?;
        let files = place.join("files");
        text(Command::new("dpkg-deb").arg("-x").arg(file.path()).arg(&files))?;
        Ok(files)
    }

    /// The files of a package that was unpacked before.
    pub fn unpacked(&self, package: &str) -> Option<PathBuf> {
        let files = self.dir.join("packages").join(package).join("files");
        files.exists().then_some(files)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-qq");
        self.options.iter().for_each(|option| {
            command.args(["-o", option]);
        });
        command
    }
}

/// A sources list with the archives that apt is configured with here.
fn sources(arch: Arch) -> Result<String> {
    ensure!(
        Path::new(KEYRING).exists(),
        "{KEYRING} is missing: `apt-get install debian-archive-keyring`"
    );
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(LABEL) $(REPO_URI)",
        "Created-By: Packages",
    ]);
    let targets = text(&mut targets)?;
    let archive = |label: &str| {
        targets
            .lines()
            .find_map(|line| line.strip_prefix(label)?.strip_prefix(' '))
    };
    let main = archive("Debian").context("apt knows no Debian archive; run `apt-get update`")?;
    let line = |uri: &str, suite: &&str| {
        format!(
            "deb [arch={} signed-by={KEYRING}] {uri} {suite} main\n",
            arch.debian()
        )
    };
    let mut list: String = SUITES.iter().map(|suite| line(main, suite)).collect();
    if let Some(security) = archive("Debian-Security") {
        list.extend(SECURITY_SUITES.iter().map(|suite| line(security, suite)));
    }
    Ok(list)
}

/// What a command prints; its complaint when it fails.
pub fn text(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}",
            command.get_program().display(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
