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
    let stdout = build("all")?;
    Ok(Installation {
        server: path(&stdout, "server")?,
        python: path(&stdout, "python")?,
    })
}

/// The server with OpenSSL inside its executable.
pub fn static_server() -> Result<PathBuf> {
    path(&build("static")?, "static")
}

/// A Python that runs `-m llama_cpp.server`.
pub fn uvicorn() -> Result<PathBuf> {
    path(&build("uvicorn")?, "python")
}

/// What the build script says; it makes only what is missing.
fn build(what: &str) -> Result<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("slm/build.sh");
    let output = Command::new(&script)
        .arg(what)
        .output()
        .with_context(|| format!("running {script:?}"))?;
    if !output.status.success() {
        bail!("{script:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn path(stdout: &str, name: &str) -> Result<PathBuf> {
    let line = stdout
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map(PathBuf::from)
        .with_context(|| format!("the build script does not say where {name} is"))
}
