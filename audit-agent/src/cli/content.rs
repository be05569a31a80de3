//! `audit-agent content keygen`: who may read. `audit-agent erase`: who is to be forgotten.

use super::DEFAULT_DIR;
use crate::content::age::Identity;
use crate::content::dir::Dir;
use crate::content::request::{self, Request};
use crate::content::store::tag;
use crate::content::user::User;
use crate::ledger::keys;
use crate::limits::cut;
use crate::record::hash::{Algorithm, Hasher, Subject};
use anyhow::{Context, bail};
use clap::Subcommand;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

#[derive(Debug, Subcommand)]
pub enum Content {
    /// Make an identity that may read; keep it off this host, and give the agent the recipient that is printed
    Keygen(KeygenArgs),
}

#[derive(Debug, clap::Args)]
pub struct KeygenArgs {
    /// The identity file; it must not be there yet
    #[arg(long)]
    out: PathBuf,
}

/// Destroys what links a user's records and opens its content; the log stays whole. Needs the running agent.
#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    /// The user as clients and proxies name it
    #[arg(long, required_unless_present = "user_id", conflicts_with = "user_id")]
    user: Option<String>,
    /// `user_id` or `api_key_hash` of a record
    #[arg(long)]
    user_id: Option<String>,
    /// Directory of keys/, log/ and content/
    #[arg(long, default_value = DEFAULT_DIR)]
    dir: PathBuf,
}

pub fn run(command: &Content) -> anyhow::Result<ExitCode> {
    let Content::Keygen(args) = command;
    let identity = Identity::generate(&mut File::open("/dev/urandom")?)?;
    let recipient = identity.recipient();
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out);
    let mut file = file.with_context(|| {
        let out = args.out.display();
        format!(
            "cannot make {out}; an identity that is there is not written over: name another file with --out"
        )
    })?;
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", *identity.to_text()));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    println!("{recipient}");
    Ok(ExitCode::SUCCESS)
}

pub fn erase(args: &EraseArgs) -> anyhow::Result<ExitCode> {
    let users = args.dir.join("content/users");
    let users = Dir::existing(&users).with_context(|| {
        format!(
            "{} is not there: users have no salts of their own; see `user_salts`",
            users.display()
        )
    })?;
    let user = match (&args.user, &args.user_id) {
        (Some(name), _) => by_name(&args.dir, name)?,
        (None, Some(id)) => by_id(&users, id)?,
        (None, None) => bail!("say whom: --user or --user-id"),
    };
    if users.bytes_of(&user).is_err() {
        bail!("no such user: nothing of it was recorded since its last erasure");
    }
    let login_uid = request::login_uid();
    request::ask(&args.dir, &Request::Erasure { login_uid, user })
        .context("it is not confirmed that anything was erased; an `erasure` record would say so")?;
    println!("erased");
    Ok(ExitCode::SUCCESS)
}

fn by_name(dir: &Path, name: &str) -> anyhow::Result<String> {
    let hasher = Hasher::new(keys::hash_key(&dir.join("keys"))?, Algorithm::HmacSha256);
    Ok(tag(Some(&hasher.hash(Subject::User, cut(name).as_bytes()))))
}

/// The user whose pseudonym this is.
fn by_id(users: &Dir, id: &str) -> anyhow::Result<String> {
    const FILE_BYTES: u64 = 1 << 20;
    for name in users.list()? {
        let Ok(file) = users.read(&name, FILE_BYTES) else {
            continue;
        };
        let bytes = Zeroizing::new(file.bytes);
        let user = std::str::from_utf8(&bytes).ok().and_then(User::parse);
        if user.is_some_and(|user| user.logged_as(&name) == id) {
            return Ok(name);
        }
    }
    bail!("no user has this id; it was erased, or it is of another log")
}
