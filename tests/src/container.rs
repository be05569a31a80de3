//! A real container: podman's, of an image that is made here.
//!
//! In: a command. Out: its process in namespaces and a cgroup of its own, with the files that podman keeps of it. Never: an
//! image from a registry; a container or an image that outlives its owner.

use crate::process::Guard;
use crate::tls::tools::program;
use crate::wait;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const START_LIMIT: Duration = Duration::from_secs(60);
/// Where the machine's programs are in the container, read-only.
const PROGRAMS: &str = "/usr";

/// A running container; it and its image are removed when dropped.
#[derive(Debug)]
pub struct Container {
    process: Guard,
    name: String,
    image: String,
    id: String,
    pid: u32,
}

impl Container {
    /// Finds what [`Container::run`] needs, and whether containers can be run here at all.
    pub fn prepare() -> Result<()> {
        program("podman", "podman")?;
        program("runc", "runc")?;
        let probe = Self::run("audit-agent-probe", &[], &["/usr/bin/sleep", "60"])?;
        drop(probe);
        Ok(())
    }

    /// Runs a command without a network but loopback; `mounts` are folders that it sees at the same place, read-only.
    pub fn run(name: &str, mounts: &[&Path], command: &[&str]) -> Result<Self> {
        let name = format!("{name}-{}", std::process::id());
        let image = format!("localhost/{name}:1");
        import(&image)?;
        let mut podman = Command::new("podman");
        // Cgroups of version 1 beside version 2 are more than crun takes; the limits are less than anybody's.
        podman.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm"]);
        podman.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]);
        podman.args(["--network", "none", "--attach", "stdout", "--name", &name]);
        for mount in [Path::new(PROGRAMS)].iter().chain(mounts) {
            let mount = mount.display();
            podman.arg("--volume").arg(format!("{mount}:{mount}:ro"));
        }
        podman.arg(&image).args(command).stdin(Stdio::null());
        let mut process = Guard::spawn(podman.stdout(Stdio::null()))?;
        let found = wait::until("a container's process", START_LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("podman ended with {status}");
            }
            inspect(&name)
        });
        let (pid, id) = found.inspect_err(|_| remove(&name, &image))?;
        Ok(Self {
            process,
            name,
            image,
            id,
            pid,
        })
    }

    /// In the host's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn image(&self) -> &str {
        &self.image
    }

    /// What podman says of the image, by a Go template such as `{{.Digest}}`.
    pub fn image_property(&self, template: &str) -> Result<String> {
        output(&["image", "inspect", "--format", template, &self.image])
    }

    /// A command in the container's network namespace, and in no other of its namespaces.
    pub fn beside(&self, command: &[&str]) -> Result<String> {
        let output = Command::new("nsenter")
            .args(["--target", &self.pid.to_string(), "--net"])
            .args(command)
            .stdin(Stdio::null())
            .output()?;
        if !output.status.success() {
            bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        remove(&self.name, &self.image);
        // Nothing is left to wait for but podman itself. A drop cannot report a failure.
        let _ = self.process.terminate();
    }
}

fn remove(name: &str, image: &str) {
    for arguments in [
        &["rm", "--force", "--time", "0", name][..],
        &["rmi", "--force", image],
    ] {
        // The container may have ended by itself, and is removed then.
        let _ = output(arguments);
    }
}

/// An image of empty folders and of the links that Debian's merged `/usr` asks for.
fn import(image: &str) -> Result<()> {
    let root = tempfile::tempdir()?;
    for folder in ["usr", "proc", "dev", "sys", "etc", "run", "tmp"] {
        std::fs::create_dir(root.path().join(folder))?;
    }
    for link in ["bin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{link}"), root.path().join(link))?;
    }
    let archive = root.path().join("tmp/root.tar");
    let tar = Command::new("tar")
        .args(["--create", "--exclude", "root.tar", "--file"])
        .arg(&archive)
        .arg("--directory")
        .arg(root.path())
        .arg(".")
        .status()?;
    if !tar.success() {
        bail!("tar ended with {tar}");
    }
    let archive = archive.to_str().context("a temporary path is UTF-8")?;
    output(&["import", archive, image]).map(drop)
}

/// Pid and id, once there is a process.
fn inspect(name: &str) -> Result<Option<(u32, String)>> {
    let Ok(text) = output(&["inspect", "--format", "{{.State.Pid}} {{.Id}}", name]) else {
        return Ok(None);
    };
    let (pid, id) = text.split_once(' ').context("two words")?;
    let pid = pid.parse()?;
    Ok((pid != 0).then(|| (pid, id.to_owned())))
}

fn output(arguments: &[&str]) -> Result<String> {
    let output = Command::new("podman").args(arguments).output()?;
    if !output.status.success() {
        bail!(
            "podman {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
