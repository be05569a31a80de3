//! The certificate of all TLS servers of a test.
//!
//! In: the `openssl` command. Out: an authority of a day's life and a key pair for `localhost` and 127.0.0.1 that it
//! signed, in a folder that goes with the last clone. Never: a key in the repository, a change of what the machine
//! trusts.

use super::tools::program;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;

const NAMES: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";
/// `req` reads this instead of the machine's configuration, which may add extensions of its own.
const CONFIGURATION: &str = "[req]\ndistinguished_name = name\n[name]\n";

/// A key pair and the authority that vouches for it.
#[derive(Clone, Debug)]
pub struct Certificate {
    folder: Arc<TempDir>,
}

impl Certificate {
    /// Makes new ones.
    pub fn create() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("audit-tls-").tempdir()?;
        std::fs::write(folder.path().join("openssl.cnf"), CONFIGURATION)?;
        // Strict clients want an authority that may sign certificates and a leaf that may not.
        let authority = [
            "basicConstraints=critical,CA:TRUE",
            "keyUsage=critical,keyCertSign",
        ];
        request(folder.path(), "ca", "audit-agent test authority", &authority, &[])?;
        let leaf = [
            NAMES,
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth",
        ];
        let signer = ["-CA", "ca.pem", "-CAkey", "ca.key"];
        request(folder.path(), "server", "localhost", &leaf, &signer)?;
        Ok(Self {
            folder: Arc::new(folder),
        })
    }

    /// PEM file of the authority: what a client has to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// PEM file of the server's certificate.
    pub fn chain(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// PEM file of the server's private key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

/// Makes `name.key` and `name.pem`.
fn request(folder: &Path, name: &str, subject: &str, extensions: &[&str], signer: &[&str]) -> Result<()> {
    let mut command = Command::new(program("openssl", "openssl")?);
    command.current_dir(folder).args([
        "req",
        "-x509",
        "-config",
        "openssl.cnf",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "1",
    ]);
    command
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")])
        .args(["-subj", &format!("/CN={subject}")])
        .args(extensions.iter().flat_map(|extension| ["-addext", extension]))
        .args(signer);
    let output = command.output().context("running openssl")?;
    if !output.status.success() {
        bail!("openssl failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
