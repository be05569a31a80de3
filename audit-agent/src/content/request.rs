//! What an operator's command asks of the running agent: to record an access before it happens, or to erase a user.
//!
//! In: a command's wish. Out: a file in `content/requests`, which the agent turns into a signed record, carries out, and
//! renames. Only who may write that directory (mode 0700) may ask. Never: an access that is shown before it is durable in the log.

use super::dir::Dir;
use crate::record::hash::hex;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

const ASKED: &str = ".json";
const DONE: &str = ".done";
const REFUSED: &str = ".refused";
/// Longest request.
const BYTES: u64 = 4096;
/// How long a command waits: the agent looks ten times a second.
const WAITS: u32 = 200;
const WAIT: Duration = Duration::from_millis(50);

/// A request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    Access {
        content_seq: u64,
        login_uid: Option<u32>,
        reader: String,
    },
    Erasure {
        login_uid: Option<u32>,
        /// Name of the user's file.
        user: String,
    },
}

/// A request that the agent found.
#[derive(Debug)]
pub struct Asked {
    pub id: String,
    pub uid: u32,
    /// None when it cannot be read.
    pub request: Option<Request>,
}

/// The directory, for the agent.
#[derive(Debug)]
pub struct Requests(Dir);

impl Requests {
    /// Answers of an earlier run that nobody waits for any more are removed.
    pub fn open(content: &Dir) -> io::Result<Self> {
        let dir = content.sub("requests", 0o700)?;
        for name in dir.list()? {
            if name.ends_with(DONE) || name.ends_with(REFUSED) {
                dir.remove(&name)?;
            }
        }
        Ok(Self(dir))
    }

    pub fn pending(&self) -> Vec<Asked> {
        let names = self.0.list().unwrap_or_default();
        let ids = names.iter().filter_map(|name| name.strip_suffix(ASKED));
        let read = |id: &str| {
            let file = self.0.read(&format!("{id}{ASKED}"), BYTES);
            let uid = file.as_ref().map_or(u32::MAX, |file| file.uid);
            let request = file
                .ok()
                .and_then(|file| serde_json::from_slice(&file.bytes).ok());
            Asked {
                id: id.to_owned(),
                uid,
                request,
            }
        };
        ids.filter(|id| !id.starts_with('.')).map(read).collect()
    }

    pub fn done(&self, id: &str) -> io::Result<()> {
        self.0.rename(&format!("{id}{ASKED}"), &format!("{id}{DONE}"))
    }

    pub fn refuse(&self, id: &str) -> io::Result<()> {
        self.0.rename(&format!("{id}{ASKED}"), &format!("{id}{REFUSED}"))
    }
}

/// Asks the agent of `dir` and waits until it has recorded and done it.
pub fn ask(dir: &Path, request: &Request) -> io::Result<()> {
    let requests = Dir::existing(&dir.join("content/requests"))?;
    let mut id = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
    let id = hex(&id);
    let text = serde_json::to_vec(request)?;
    // The directory keeps others out; the agent's account reads what root asks.
    requests.replace(&format!("{id}{ASKED}"), &text, 0o644)?;
    for _ in 0..WAITS {
        let names = requests.list()?;
        let is = |suffix: &str| names.contains(&format!("{id}{suffix}"));
        if is(DONE) {
            return requests.remove(&format!("{id}{DONE}"));
        }
        if is(REFUSED) {
            requests.remove(&format!("{id}{REFUSED}"))?;
            return Err(io::Error::other(
                "the agent refused it; its own words on standard error say why",
            ));
        }
        std::thread::sleep(WAIT);
    }
    requests.remove(&format!("{id}{ASKED}"))?;
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "no agent answers; it must run on this directory, so that what is done is in the log",
    ))
}

/// The user id of the login session of this process, as the kernel has it.
pub fn login_uid() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/self/loginuid").ok()?;
    text.trim().parse().ok().filter(|uid| *uid != u32::MAX)
}
