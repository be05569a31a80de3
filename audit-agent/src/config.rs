//! The configuration file, parsed into what the program works with.
//!
//! In: TOML text. Out: [`Config`], or an error that names the line and what would be right. Never: a member that is
//! ignored.

use crate::content::Mode;
use crate::content::age::{AgeError, Recipient};
use crate::content::retention::Limits;
use crate::content::store::Settings;
use crate::ledger::retention::{self, Keep};
use crate::policy::filter::Filter;
use crate::record::hash::{Algorithm, hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error(
        "cannot read the configuration {path}: {source}; check the path and its mode, or leave out --config"
    )]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration {path} is not right: {source}")]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("[content] {0}")]
    Content(String),
    #[error("ring_buffer_mib is {0}; it has to be a power of two from 1 to 1024")]
    RingBuffer(u32),
    #[error("max_connections is {0}; it has to be from 1 to 1048576")]
    Connections(u32),
    #[error("nice is {0}; it has to be from -20 to 19")]
    Nice(i32),
    #[error(
        "retention_days is {0}, and records have to stay for {days} days; set allow_short_retention = true when no law asks for that here",
        days = retention::DAYS
    )]
    Retention(u64),
    #[error(
        "retention_mib deletes records before {days} days when there are many; set allow_short_retention = true when no law asks for them",
        days = retention::DAYS
    )]
    RetentionSize,
}

/// Where the bytes are seen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum CapturePath {
    /// The first of the others that this kernel has.
    #[default]
    Auto,
    /// At TCP's and unix streams' own functions, by fentry and fexit.
    Fentry,
    /// At the same functions, by kprobes.
    Kprobe,
    /// At the end of system calls.
    Tracepoint,
}

impl CapturePath {
    /// Its name in records and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    pub path: CapturePath,
    pub ring_buffer_mib: u32,
    /// Connections of watched listeners that the kernel side follows at once.
    pub max_connections: u32,
    /// Nice value of the agent: servers go first.
    pub nice: i32,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            path: CapturePath::Auto,
            ring_buffer_mib: 16,
            max_connections: 32 * 1024,
            nice: 10,
        }
    }
}

#[cfg(feature = "live")]
impl Capture {
    /// Of the kernel side's maps.
    pub fn sizes(&self) -> crate::capture::live::Sizes {
        crate::capture::live::Sizes {
            ring_bytes: self.ring_buffer_mib << 20,
            connections: self.max_connections,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Hash {
    #[default]
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "sha256")]
    Sha256,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    pub hash: Hash,
    /// A salt for each user, so that a user can be erased; always so where content is stored.
    pub user_salts: bool,
}

/// What is kept of prompts and completions, and how long.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Content {
    pub mode: Mode,
    /// `age1...`: who may read.
    pub recipients: Vec<String>,
    /// Longest prompt or completion that is stored whole.
    pub max_kib: usize,
    /// Zero is no limit.
    pub keep_days: u64,
    pub keep_mib: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            recipients: Vec::new(),
            max_kib: 4096,
            keep_days: retention::DAYS,
            keep_mib: 4096,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub heartbeat_s: u64,
    /// Name of a new log; the host's name when empty.
    pub name: String,
    /// A file that names the witnesses to ask for cosignatures, and how many are enough.
    pub witness_policy: Option<PathBuf>,
    /// Days that records stay at least.
    pub retention_days: u64,
    /// Room for records; the oldest go when they take more. Zero is no limit.
    pub retention_mib: u64,
    /// Lets records go before the law's six months.
    pub allow_short_retention: bool,
    /// Nothing is deleted.
    pub legal_hold: bool,
}

impl Log {
    pub fn keep(&self) -> Keep {
        Keep {
            bytes: self.retention_mib.saturating_mul(1 << 20),
            ..Keep::days(self.retention_days, self.legal_hold)
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            heartbeat_s: 60,
            name: String::new(),
            witness_policy: None,
            retention_days: retention::DAYS,
            retention_mib: 0,
            allow_short_retention: false,
            legal_hold: false,
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Process {
    /// Account to work as when root starts the agent; see [`crate::privilege::identity::Account::choose`].
    pub user: String,
}

/// `docs/configuration.md` describes each member.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub capture: Capture,
    pub filter: Filter,
    pub privacy: Privacy,
    pub content: Content,
    pub log: Log,
    pub process: Process,
    /// Of the file, for the first record of a run.
    #[serde(skip)]
    pub sha256: Option<String>,
}

impl Config {
    /// Reads `path`, or gives the defaults without one.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.into(),
            source: Box::new(source),
        })?;
        let mib = config.capture.ring_buffer_mib;
        if !mib.is_power_of_two() || mib > 1024 {
            return Err(ConfigError::RingBuffer(mib));
        }
        let connections = config.capture.max_connections;
        if connections == 0 || connections > 1 << 20 {
            return Err(ConfigError::Connections(connections));
        }
        let nice = config.capture.nice;
        if !(-20..=19).contains(&nice) {
            return Err(ConfigError::Nice(nice));
        }
        if config.log.retention_days < retention::DAYS && !config.log.allow_short_retention {
            return Err(ConfigError::Retention(config.log.retention_days));
        }
        if config.log.retention_mib > 0 && !config.log.allow_short_retention {
            return Err(ConfigError::RetentionSize);
        }
        config.store()?;
        config.sha256 = Some(hex(&Sha256::digest(&text)));
        Ok(config)
    }

    /// What the content store works with.
    pub fn store(&self) -> Result<Settings, ConfigError> {
        let content = &self.content;
        let wrong = |error: AgeError| ConfigError::Content(error.to_string());
        let recipients = content.recipients.iter().map(|text| text.parse().map_err(wrong));
        let recipients: Vec<Recipient> = recipients.collect::<Result<_, _>>()?;
        if content.mode.stores() && recipients.is_empty() {
            let what = format!(
                "mode = \"{}\" needs recipients; `audit-agent content keygen` makes one",
                content.mode.name()
            );
            return Err(ConfigError::Content(what));
        }
        Ok(Settings {
            mode: content.mode,
            user_salts: self.privacy.user_salts,
            recipients,
            most_bytes: content.max_kib.saturating_mul(1024),
            hold: self.log.legal_hold,
            keep: Limits {
                seconds: content.keep_days.saturating_mul(24 * 3600),
                bytes: content.keep_mib.saturating_mul(1024 * 1024),
            },
        })
    }

    pub fn algorithm(&self) -> Algorithm {
        match self.privacy.hash {
            Hash::HmacSha256 => Algorithm::HmacSha256,
            Hash::Sha256 => Algorithm::Sha256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit-agent.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn reads_what_it_documents() {
        let config =
            load("[filter]\nports = [8080]\n[privacy]\nhash = \"sha256\"\n[log]\nheartbeat_s = 5\n").unwrap();
        assert_eq!(
            (config.filter.ports, config.privacy.hash, config.log.heartbeat_s),
            (vec![8080], Hash::Sha256, 5)
        );
    }

    #[test]
    fn an_unknown_member_is_named_with_its_line() {
        let error = load("[privacy]\nhahs = \"sha256\"\n").unwrap_err().to_string();
        assert!(
            error.contains("line 2") && error.contains("hahs") && error.contains("hash"),
            "{error}"
        );
    }

    #[test]
    fn a_retention_below_the_law_s_has_to_be_asked_for() {
        let short = "[log]\nretention_days = 30\n";
        assert!(load(short).unwrap_err().to_string().contains("184 days"));
        let allowed = String::from(short) + "allow_short_retention = true\n";
        assert_eq!(load(&allowed).unwrap().log.retention_days, 30);
        let room = "[log]\nretention_mib = 64\n";
        assert!(load(room).unwrap_err().to_string().contains("retention_mib"));
        let allowed = String::from(room) + "allow_short_retention = true\n";
        assert_eq!(load(&allowed).unwrap().log.keep().bytes, 64 << 20);
    }

    #[test]
    fn a_legal_hold_is_over_content_too() {
        let held = load("[log]\nlegal_hold = true\n").unwrap();
        assert!(held.log.keep().hold && held.store().unwrap().hold);
        assert!(!Config::default().store().unwrap().hold);
    }

    #[test]
    fn content_needs_somebody_who_may_read_it() {
        let error = load("[content]\nmode = \"full\"\n").unwrap_err().to_string();
        assert!(
            error.contains("recipients") && error.contains("keygen"),
            "{error}"
        );
        let error = load("[content]\nmode = \"hash\"\nrecipients = [\"age1x\"]\n")
            .unwrap_err()
            .to_string();
        assert!(error.contains("age1x"), "{error}");
        assert_eq!(Config::default().store().unwrap().mode, Mode::Hash);
    }

    #[test]
    fn a_nice_value_that_there_is_not_is_refused() {
        let error = load("[capture]\nnice = 20\n").unwrap_err().to_string();
        assert!(error.contains("-20 to 19"), "{error}");
    }

    #[test]
    fn a_ring_buffer_that_the_kernel_would_refuse_is_refused_here() {
        assert!(
            load("[capture]\nring_buffer_mib = 3\n")
                .unwrap_err()
                .to_string()
                .contains("power of two")
        );
    }
}
