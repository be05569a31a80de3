//! `ci`: what has to pass, from a bare machine.

use crate::shell::{as_root, cargo, is_root, output, run as run_command, say};
use crate::{bench, fuzz, test, vm};
use anyhow::{Result, bail};
use std::process::Command;
use std::time::Instant;

/// Debian packages that the tests, the real server and the guests need besides the BPF compiler.
const PACKAGES: &[&str] = &[
    "g++",
    "make",
    "curl",
    "python3",
    "python3-venv",
    "libssl-dev",
    "qemu-system-x86",
    "cpio",
    "openssl",
    "nginx",
    "nodejs",
    "nghttp2-client",
    "nghttp2-server",
    "golang-go",
    "libgnutls28-dev",
    "podman",
    "runc",
    "systemd",
    "swtpm",
    "libtss2-esys-3.0.2-0",
    "libtss2-rc0",
    "libtss2-mu0",
    "libtss2-tcti-swtpm0",
    "age",
];

/// Installs packages. Some bring a service, which must neither start now nor at boot: the tests run their own.
const INSTALL: &str = r#"set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
case " $* " in *" nginx "*) update-rc.d nginx disable ;; esac"#;

/// A step's name and what it does.
type Step = (&'static str, fn() -> Result<()>);

#[expect(
    clippy::disallowed_methods,
    reason = "steps are timed for whoever waits for them"
)]
pub fn run() -> Result<()> {
    let steps: &[Step] = &[
        ("packages", packages),
        ("format", || run_command(&mut cargo(&["fmt", "--all", "--check"]))),
        ("lints", lints),
        ("pure core alone", || {
            run_command(&mut cargo(&[
                "check",
                "--package",
                "audit-agent",
                "--lib",
                "--no-default-features",
            ]))
        }),
        ("documentation", documentation),
        ("spelling", spelling),
        ("dependencies", dependencies),
        ("tests", tests),
        ("kernels", kernels),
        ("fuzzing", || fuzz::run(10)),
        ("measurements", || bench::run(&["--smoke".to_owned()])),
    ];
    for (name, step) in steps {
        let started = Instant::now();
        say(&format!("=== {name}"));
        step()?;
        say(&format!("=== {name} passed in {} s", started.elapsed().as_secs()));
    }
    Ok(())
}

fn packages() -> Result<()> {
    let missing = |name: &&&str| {
        output("dpkg-query", &["-W", "-f=${Status}", name]).as_deref() != Some("install ok installed")
    };
    let missing: Vec<_> = PACKAGES.iter().filter(missing).collect();
    if missing.is_empty() || output("apt-get", &["--version"]).is_none() {
        return Ok(());
    }
    say(&format!("installing {missing:?}"));
    run_command(as_root("sh").args(["-c", INSTALL, "install"]).args(missing))
}

fn lints() -> Result<()> {
    run_command(&mut cargo(&[
        "clippy",
        "--workspace",
        "--exclude",
        "audit-ebpf",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

fn documentation() -> Result<()> {
    let mut doc = cargo(&[
        "doc",
        "--workspace",
        "--exclude",
        "audit-ebpf",
        "--no-deps",
        "--document-private-items",
    ]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// The spelling checker's wheel carries its program; where it cannot be had, the step is skipped and says so.
fn spelling() -> Result<()> {
    let tools = crate::shell::cache().join("tools");
    let typos = tools.join("bin/typos");
    let install = || {
        run_command(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
        run_command(Command::new(tools.join("bin/pip")).args(["install", "--quiet", "typos"]))
    };
    if !typos.exists() && install().is_err() {
        say("skipped: spelling, since `typos` could not be installed");
        return Ok(());
    }
    run_command(&mut Command::new(typos))
}

/// Licences and sources of the dependencies, where cargo-deny is installed: compiling it takes longer than all the rest.
fn dependencies() -> Result<()> {
    if output("cargo", &["deny", "--version"]).is_none() {
        say("skipped: dependencies, since cargo-deny is not installed (`cargo install cargo-deny`)");
        return Ok(());
    }
    run_command(&mut cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

/// The kernels are Debian's; where its package manager is not, the step is skipped and says so.
fn kernels() -> Result<()> {
    if output("apt-get", &["--version"]).is_none() {
        say("skipped: kernels, since there is no apt-get to fetch them with");
        return Ok(());
    }
    vm::run(&vm::Args::all())
}

/// As root every test has to run; the build comes first, since the tests use the built agent.
fn tests() -> Result<()> {
    if is_root()
        && let Some(why) = test::cannot_capture()
    {
        bail!("the tests on the kernel cannot run: {why}");
    }
    test::run()
}
