//! The commands.

pub mod content;
pub mod doctor;
pub mod export;
pub mod log;
pub mod memory;
pub mod pretty;
pub mod prove;
pub mod replay;
#[cfg(feature = "live")]
pub mod run;
pub mod serve;
pub mod show;
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

/// An error and its causes, each once: some messages have their cause in them.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.contains(&cause) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&cause);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::age::AgeError;
    use crate::content::reader::ReadError;
    use anyhow::Context;

    #[test]
    fn a_cause_is_said_once() {
        let what = "9457e18b29115948".to_owned();
        let error = ReadError::Age {
            what,
            source: AgeError::Forged,
        };
        assert_eq!(
            in_words(&error.into()),
            "cannot decrypt 9457e18b29115948: the file was changed after it was encrypted"
        );
        let error = Err::<(), _>(std::io::Error::from_raw_os_error(2)).context("cannot read the log");
        assert_eq!(
            in_words(&error.unwrap_err()),
            "cannot read the log: No such file or directory (os error 2)"
        );
    }
}
