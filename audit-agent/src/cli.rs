//! The commands.

pub mod doctor;
pub mod pretty;
pub mod replay;
#[cfg(feature = "live")]
pub mod run;
pub mod verify;

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
