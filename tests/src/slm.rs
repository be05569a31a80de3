//! A real inference server on this machine: llama.cpp's `llama-server` with a tiny random model.
//!
//! `tests/slm/build.sh` compiles the server once per machine into the user's cache; [`model`] writes the
//! weights. What it generates is word salad, but the HTTP behaviour is the real one.

mod gguf;
pub mod model;
pub mod server;

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What the build script made.
#[derive(Clone, Debug)]
pub struct Installation {
    pub server: PathBuf,
    /// A Python that has the `openai` package.
    pub python: PathBuf,
}

/// The server and the client, built on first use.
pub fn installation() -> Result<&'static Installation> {
    static INSTALLATION: OnceLock<Result<Installation, String>> = OnceLock::new();
    let made = INSTALLATION.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    made.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn install() -> Result<Installation> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slm/build.sh");
    let output = Command::new(&script)
        .arg("all")
        .output()
        .with_context(|| format!("running {script:?}"))?;
    if !output.status.success() {
        bail!("{script:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let stdout = String::from_utf8(output.stdout)?;
    let path = |name: &str| {
        let line = stdout
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map(PathBuf::from)
            .with_context(|| format!("{script:?} does not say where {name} is"))
    };
    Ok(Installation {
        server: path("server")?,
        python: path("python")?,
    })
}
