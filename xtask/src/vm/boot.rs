//! One guest: booted, listened to, ended.
//!
//! In: a kernel and an initrd. Out: the lines that the tests printed, and how they ended. Never: a network, a disk.

use super::arch::Arch;
use super::fetch::Kernel;
use crate::shell::{root, say};
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Emulation on a busy machine takes a while; a guest that hangs ends here.
const LIMIT_SECONDS: &str = "600";
const MEMORY: &str = "1G";
/// Lines of the kernel's log that are shown when a guest does not report.
const LOG_LINES: usize = 60;

/// What a guest said.
#[derive(Debug)]
pub struct Report {
    /// Every line of the tests.
    pub lines: Vec<String>,
    pub passed: bool,
    pub seconds: u64,
}

impl Report {
    /// The verdicts that are not good, each with its reason.
    pub fn failures(&self) -> Vec<&str> {
        let verdict = |line: &&str| {
            ["CASE ", "SAME ", "CHECK "]
                .iter()
                .any(|kind| line.starts_with(kind))
        };
        let lines = self.lines.iter().map(String::as_str).filter(verdict);
        lines.filter(|line| line.contains(" failed: ")).collect()
    }

    /// The cases that failed at first, each with its reason.
    pub fn second_tries(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.strip_prefix("AGAIN "))
    }
}

/// What the log of a guest ends with that the emulation has broken: a kernel that changes its own code (static keys) puts a
/// breakpoint there first, and without KVM the other processor may meet it when the kernel thinks that it is gone.
/// "Oops: " stands before it only since Linux 6.10.
const EMULATION_FAULT: &str = "int3: 0000 [#";
/// Boots of a kernel at most, where only the emulation ended those before.
const BOOTS: u32 = 3;

/// Boots and shows what the tests print while they do.
pub fn boot(arch: Arch, kernel: &Kernel, initrd: &Path) -> Result<Report> {
    for _ in 1..BOOTS {
        match boot_once(arch, kernel, initrd) {
            Err(error) if is_broken(&error) => say(&format!(
                "Linux {}: the emulation broke the kernel (a breakpoint of its own patching); booting again",
                kernel.series
            )),
            result => return result,
        }
    }
    boot_once(arch, kernel, initrd)
}

fn is_broken(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains(EMULATION_FAULT)
}

#[expect(clippy::disallowed_methods, reason = "whoever waits is told how long it took")]
fn boot_once(arch: Arch, kernel: &Kernel, initrd: &Path) -> Result<Report> {
    let started = Instant::now();
    let log = root().join(format!("target/vm/{}/{}.log", arch.name(), kernel.series));
    let mut qemu = command(arch, kernel, initrd, &log)
        .spawn()
        .with_context(|| format!("cannot run QEMU; `apt-get install {}`", arch.qemu_package()))?;
    let lines = listen(&mut qemu, &kernel.series)?;
    let status = qemu.wait()?;
    fs::write(report_file(arch, kernel), lines.join("\n"))?;
    report(lines, started.elapsed().as_secs())
        .with_context(|| format!("QEMU: {status}; the kernel's log ends with\n{}", end_of(&log)))
}

/// What the guest said in the last run.
pub fn kept(arch: Arch, kernel: &Kernel) -> Result<Report> {
    let path = report_file(arch, kernel);
    let text = fs::read_to_string(&path)
        .with_context(|| format!("no run of Linux {} is kept in {}", kernel.series, path.display()))?;
    report(text.lines().map(Into::into).collect(), 0)
}

fn report_file(arch: Arch, kernel: &Kernel) -> PathBuf {
    root().join(format!("target/vm/{}/{}.report", arch.name(), kernel.series))
}

fn report(lines: Vec<String>, seconds: u64) -> Result<Report> {
    let result = lines.iter().find_map(|line| line.strip_prefix("RESULT "));
    let Some(result) = result else {
        bail!("the guest ended without a result");
    };
    Ok(Report {
        passed: result == "0",
        seconds,
        lines,
    })
}

fn command(arch: Arch, kernel: &Kernel, initrd: &Path, log: &Path) -> Command {
    // `timeout` ends QEMU too when this program is gone.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", LIMIT_SECONDS]).args(arch.qemu());
    command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
    command
        .args(["-m", MEMORY, "-smp", "2", "-kernel"])
        .arg(&kernel.image);
    command.arg("-initrd").arg(initrd).arg("-append").arg(format!(
        "console={} panic=-1 oops=panic mitigations=off random.trust_cpu=on",
        arch.ports().0
    ));
    command.args(["-serial", &format!("file:{}", log.display())]);
    command
        .args(["-chardev", "stdio,id=tests,signal=off"])
        .args(arch.second_port());
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Reads until the guest is gone.
#[expect(clippy::print_stdout, reason = "what the tests say")]
fn listen(qemu: &mut Child, series: &str) -> Result<Vec<String>> {
    let output = qemu.stdout.take().context("QEMU has an output")?;
    let mut lines = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).trim_end().to_owned();
        println!("{series:>5} | {line}");
        lines.push(line);
    }
    Ok(lines)
}

fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::{Report, is_broken};

    #[test]
    fn only_what_the_emulation_explains_boots_again() {
        assert!(is_broken(&anyhow::anyhow!("Oops: int3: 0000 [#1] SMP NOPTI")));
        assert!(is_broken(&anyhow::anyhow!("[    3.1] int3: 0000 [#1] SMP NOPTI")));
        assert!(!is_broken(&anyhow::anyhow!(
            "general protection fault: 0000 [#1] SMP"
        )));
    }

    #[test]
    fn failures_are_named_with_their_reasons() {
        let lines = [
            "doctor: warn: failed",
            "AGAIN a plain: late",
            "CASE a plain ok",
            "CASE a unix failed: 3 bytes",
            "RESULT 1",
        ];
        let report = Report {
            lines: lines.map(Into::into).into(),
            passed: false,
            seconds: 1,
        };
        assert_eq!(report.failures(), ["CASE a unix failed: 3 bytes"]);
        assert_eq!(report.second_tries().collect::<Vec<_>>(), ["a plain: late"]);
    }
}
