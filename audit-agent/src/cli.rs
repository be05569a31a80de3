//! The commands.

pub mod doctor;
pub mod export;
pub mod log;
pub mod pretty;
pub mod prove;
pub mod replay;
#[cfg(feature = "live")]
pub mod run;
pub mod serve;
pub mod verify;
pub mod witness;

use crate::ledger::keys::Verifier;
use std::path::PathBuf;

/// Where keys, log and state live when nothing else is said.
pub const DEFAULT_DIR: &str = "/var/lib/audit-agent";

/// The agent's directory and its configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct Place {
    /// Directory of keys/ and log/
    #[arg(long, default_value = DEFAULT_DIR)]
    pub dir: PathBuf,
    /// Configuration file (TOML)
    #[arg(long)]
    pub config: Option<PathBuf>,
}

/// A log's public key from its text, or from a file that holds it.
pub fn verifier(key: &str) -> anyhow::Result<Verifier> {
    match Verifier::parse(key) {
        Ok(verifier) => Ok(verifier),
        Err(error) => match std::fs::read_to_string(key) {
            Ok(text) => Verifier::parse(&text).map_err(Into::into),
            Err(_) => Err(error.into()),
        },
    }
}
