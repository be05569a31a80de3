//! `audit-agent doctor`: what this host lets the agent see, and what to do about the rest.

mod rights;
mod servers;

use super::{Place, pretty::harmless};
#[cfg(feature = "live")]
use crate::config::Capture;
use crate::config::CapturePath;
use crate::ledger::access;
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Print the checks as JSON
    #[arg(long)]
    json: bool,
    /// The capture path to try
    #[arg(long, value_enum, default_value_t)]
    path: CapturePath,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
    /// What to do; empty when nothing is to be done.
    remedy: &'static str,
    /// Of a loaded program, where the kernel counts them.
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_instructions: Option<u32>,
}

impl Check {
    fn new(
        name: &'static str,
        good: bool,
        bad: Status,
        detail: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        let status = if good { Status::Ok } else { bad };
        Self {
            name,
            status,
            detail: detail.into(),
            remedy: if good { "" } else { remedy },
            verified_instructions: None,
        }
    }
}

/// Exit status: 0 when the agent can run, 1 when something keeps it from running.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut checks = vec![
        kernel(),
        btf(),
        lockdown(),
        tracefs(),
        object(),
        directory(&args.place.dir),
        modes(&args.place.dir),
    ];
    checks.extend(rights::checks(args.place.config.as_deref()));
    checks.extend(hooks(args.path));
    checks.extend(servers::checks());
    if args.json {
        println!("{}", serde_json::to_string_pretty(&checks)?);
    } else {
        checks.iter().for_each(print);
    }
    let failed = checks.iter().any(|check| check.status == Status::Fail);
    Ok(ExitCode::from(u8::from(failed)))
}

fn print(check: &Check) {
    let mark = match check.status {
        Status::Ok => "ok  ",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
    };
    println!("{mark}  {:<13} {}", check.name, harmless(&check.detail));
    if !check.remedy.is_empty() {
        println!("      {:<13} -> {}", "", check.remedy);
    }
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn kernel() -> Check {
    let release = line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    Check::new(
        "kernel",
        version >= (5, 10),
        Status::Fail,
        release,
        "Linux 5.10 or newer is needed",
    )
}

fn btf() -> Check {
    let readable = fs::File::open("/sys/kernel/btf/vmlinux").is_ok();
    let detail = if readable {
        "/sys/kernel/btf/vmlinux is readable"
    } else {
        "/sys/kernel/btf/vmlinux is missing"
    };
    Check::new(
        "btf",
        readable,
        Status::Fail,
        detail,
        "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
    )
}

fn lockdown() -> Check {
    let state = line("/sys/kernel/security/lockdown");
    let confidential = state
        .as_ref()
        .is_some_and(|state| state.contains("[confidentiality]"));
    let detail = state.unwrap_or_else(|| "unknown (securityfs is not mounted)".into());
    Check::new(
        "lockdown",
        !confidential,
        Status::Fail,
        detail,
        "lockdown=confidentiality forbids reading kernel memory; use integrity",
    )
}

fn tracefs() -> Check {
    let mounted = Path::new("/sys/kernel/tracing/events/syscalls").exists();
    let detail = if mounted {
        "mounted"
    } else {
        "not mounted on /sys/kernel/tracing"
    };
    Check::new(
        "tracefs",
        mounted,
        Status::Warn,
        detail,
        "`audit-agent run` mounts it; or: mount -t tracefs tracefs /sys/kernel/tracing",
    )
}

#[cfg(feature = "live")]
fn object() -> Check {
    let there = crate::capture::live::has_object();
    let detail = if there { "embedded" } else { "not in this binary" };
    Check::new(
        "programs",
        there,
        Status::Fail,
        detail,
        "build with `cargo xtask build`",
    )
}

#[cfg(not(feature = "live"))]
fn object() -> Check {
    Check::new(
        "programs",
        false,
        Status::Fail,
        "built without the feature `live`",
        "build with default features",
    )
}

/// Loads and attaches everything, says what the verifier made of it, and lets go again.
#[cfg(feature = "live")]
fn hooks(path: CapturePath) -> Vec<Check> {
    let mut kernel = match crate::capture::live::Kernel::load(Capture::default().sizes(), path) {
        Ok(kernel) => kernel,
        Err(error) => {
            let remedy = "see the checks above";
            return vec![Check::new(
                "hooks",
                false,
                Status::Fail,
                error.to_string(),
                remedy,
            )];
        }
    };
    let how = match kernel.path() {
        CapturePath::Fentry => "the transport functions (fentry), so io_uring is seen too",
        CapturePath::Kprobe => "the transport functions (kprobe), so io_uring is seen too",
        _ if path == CapturePath::Tracepoint => "the end of system calls (tracepoint), as asked for",
        _ => {
            "the end of system calls (tracepoint), since this kernel does not let its functions be attached to"
        }
    };
    let detail = format!("capture at {how}; sockets, processes and TLS libraries attach");
    let mut checks = vec![Check::new("hooks", true, Status::Fail, detail, "")];
    checks.push(runs(kernel.may_skip()));
    checks.push(rights::probes(kernel.probes_take_more()));
    checks.extend(kernel.programs().into_iter().map(program));
    checks
}

/// Whether the kernel runs the programs each time that they are due.
#[cfg(feature = "live")]
fn runs(may_skip: bool) -> Check {
    let (detail, remedy) = if may_skip {
        (
            "this kernel may leave out a run of a program while it is preempted in it; TCP's own numbers show what was missed, \
             unix sockets have none",
            "leave `capture.path` at \"auto\", which takes kprobes where there are any: none of theirs is left out",
        )
    } else {
        ("programs run each time that they are due", "")
    };
    Check::new("runs", !may_skip, Status::Warn, detail, remedy)
}

/// A loaded program. The verifier refuses one at a million instructions.
#[cfg(feature = "live")]
fn program((name, verified_instructions): (String, Option<u32>)) -> Check {
    Check {
        name: "program",
        status: Status::Ok,
        detail: match verified_instructions {
            Some(count) => format!("{name}: {count} instructions verified"),
            None => format!("{name}: loaded"),
        },
        remedy: "",
        verified_instructions,
    }
}

#[cfg(not(feature = "live"))]
fn hooks(_path: CapturePath) -> Vec<Check> {
    vec![Check::new(
        "hooks",
        false,
        Status::Fail,
        "built without the feature `live`",
        "build with default features",
    )]
}

/// Whether only the agent can write the log and read its keys.
fn modes(dir: &Path) -> Check {
    let found = access::check(dir);
    let detail = match &found {
        Ok(Ok(())) => "only the agent can write the log and read its keys".to_owned(),
        Ok(Err(open)) => open.to_string(),
        Err(error) => format!("{}: {error}", dir.display()),
    };
    let remedy = "the log and its keys must be the agent's alone to write";
    Check::new("modes", matches!(found, Ok(Ok(()))), Status::Fail, detail, remedy)
}

fn directory(dir: &Path) -> Check {
    let writable = nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK).is_ok()
        || dir
            .parent()
            .is_some_and(|parent| nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK).is_ok());
    let detail = format!(
        "{} {}",
        dir.display(),
        if writable {
            "can be written"
        } else {
            "cannot be written"
        }
    );
    Check::new(
        "directory",
        writable,
        Status::Fail,
        detail,
        "give another place with --dir",
    )
}
