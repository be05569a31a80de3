//! One guest: booted, listened to, ended.
//!
//! In: a kernel and an initrd. Out: the lines that the tests printed, and how they ended. Never: a network, a disk.

use super::arch::Arch;
use super::fetch::Kernel;
use crate::shell::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Emulation on a busy machine takes a while; a guest that hangs ends here.
const LIMIT_SECONDS: &str = "600";
const MEMORY: &str = "1G";
/// Lines of the kernel's log that are shown when a guest does not report.
const LOG_LINES: usize = 30;

/// What a guest said.
#[derive(Debug)]
pub struct Report {
    /// Every line of the tests.
    pub lines: Vec<String>,
    pub passed: bool,
    pub seconds: u64,
}

/// Boots and shows what the tests print while they do.
#[expect(clippy::disallowed_methods, reason = "whoever waits is told how long it took")]
pub fn boot(arch: Arch, kernel: &Kernel, initrd: &Path) -> Result<Report> {
    let started = Instant::now();
    let log = root().join(format!("target/vm/{}/{}.log", arch.name(), kernel.series));
    let mut qemu = command(arch, kernel, initrd, &log)
        .spawn()
        .with_context(|| format!("cannot run QEMU; `apt-get install {}`", arch.qemu_package()))?;
    let lines = listen(&mut qemu, &kernel.series)?;
    let status = qemu.wait()?;
    let Some(result) = lines.iter().find_map(|line| line.strip_prefix("RESULT ")) else {
        bail!(
            "the guest ended without a result (QEMU: {status}); its kernel's log ends with\n{}",
            end_of(&log)
        );
    };
    Ok(Report {
        passed: result == "0",
        seconds: started.elapsed().as_secs(),
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
