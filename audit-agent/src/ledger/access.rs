//! Who may read and write the log, its keys and stored content, by their modes.
//!
//! In: the agent's directory. Out: the first file that somebody else could change, or read against the rules: the log and
//! encrypted content are for the agent to write and for its group to read; keys, users' salts and requests are for the agent
//! alone.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file whose mode gives away too much.
#[derive(Debug, Error)]
#[error("{path} has mode {mode:o}, with which others could {harm}; run `chmod {remedy} {path}`")]
pub struct Open {
    pub path: PathBuf,
    pub mode: u32,
    pub harm: &'static str,
    pub remedy: &'static str,
}

/// What nobody else must be able to do, and what follows if they can.
struct Rule {
    harm: &'static str,
    file: Bits,
    dir: Bits,
}

/// Bits of a mode that must not be there, and what `chmod` takes to remove them.
#[derive(Clone, Copy)]
struct Bits {
    never: u32,
    remedy: &'static str,
}

const UNCHANGED: Bits = Bits {
    never: 0o022,
    remedy: "g-w,o-w",
};
const LOG: Rule = Rule {
    harm: "change the log",
    file: UNCHANGED,
    dir: UNCHANGED,
};
const KEYS: Rule = Rule {
    harm: "read the keys",
    file: Bits {
        never: 0o077,
        remedy: "600",
    },
    dir: Bits {
        never: 0o077,
        remedy: "700",
    },
};

const CONTENT: Rule = Rule {
    harm: "destroy stored content",
    ..LOG
};
const USERS: Rule = Rule {
    harm: "tell whose records are whose",
    ..KEYS
};
/// Root's requests, which the agent's account reads: nobody else gets as far as the files.
const REQUESTS: Rule = Rule {
    harm: "have users erased",
    file: UNCHANGED,
    ..KEYS
};
/// Directories, those that others are in before them.
const PLACES: [(&str, Rule); 8] = [
    ("keys", KEYS),
    ("log", LOG),
    ("log/records", LOG),
    ("content", CONTENT),
    ("content/segments", CONTENT),
    ("content/keys", CONTENT),
    ("content/users", USERS),
    ("content/requests", REQUESTS),
];

/// Checks `dir/log`, `dir/keys` and `dir/content`; what is not there yet is no problem. Public keys are for everybody to read.
pub fn check(dir: &Path) -> io::Result<Result<(), Open>> {
    for (name, rule) in PLACES {
        let dir = dir.join(name);
        let Ok(metadata) = fs::metadata(&dir) else {
            continue;
        };
        if let Some(open) = judge(&dir, metadata.mode(), rule.harm, rule.dir) {
            return Ok(Err(open));
        }
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            let public = path.extension().is_some_and(|extension| extension == "pub");
            // Requests come and go.
            let metadata = match fs::metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let rule = if public { &LOG } else { &rule };
            if metadata.is_file()
                && let Some(open) = judge(&path, metadata.mode(), rule.harm, rule.file)
            {
                return Ok(Err(open));
            }
        }
    }
    Ok(Ok(()))
}

fn judge(path: &Path, mode: u32, harm: &'static str, bits: Bits) -> Option<Open> {
    (mode & bits.never != 0).then(|| Open {
        path: path.into(),
        mode: mode & 0o7777,
        harm,
        remedy: bits.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn whatever_others_could_change_or_read_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        for (inner, _) in PLACES {
            fs::create_dir(dir.path().join(inner)).unwrap();
        }
        let files = [
            ("keys/log.key", 0o600),
            ("keys/log.pub", 0o644),
            ("log/checkpoint", 0o640),
            ("log/records/a", 0o640),
            ("content/segments/a.tar", 0o640),
            ("content/users/a", 0o600),
            ("content/requests/a.asked", 0o644),
        ];
        let set = |name: &str, mode| {
            fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).unwrap()
        };
        for (name, mode) in files {
            fs::write(dir.path().join(name), "x").unwrap();
            set(name, mode);
        }
        for (name, rule) in PLACES {
            set(name, 0o777 & !(rule.dir.never | 0o007));
        }
        assert!(check(dir.path()).unwrap().is_ok());
        for (name, bad, good) in [
            ("keys", 0o750, 0o700),
            ("keys/log.key", 0o640, 0o600),
            ("keys/log.pub", 0o666, 0o644),
            ("log", 0o770, 0o750),
            ("log/checkpoint", 0o660, 0o640),
            ("log/records/a", 0o642, 0o640),
            ("content/segments", 0o770, 0o750),
            ("content/segments/a.tar", 0o646, 0o640),
            ("content/users", 0o750, 0o700),
            ("content/users/a", 0o640, 0o600),
            ("content/requests", 0o770, 0o700),
            ("content/requests/a.asked", 0o664, 0o644),
        ] {
            set(name, bad);
            let error = check(dir.path()).unwrap().unwrap_err().to_string();
            assert!(
                error.contains(&format!("{bad:o}")) && error.contains("chmod"),
                "{error}"
            );
            set(name, good);
        }
    }
}
