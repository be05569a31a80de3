//! The agent's folders, made for the account that it works as.
//!
//! In: the agent's directory, the account. Out: `keys`, `log` and, where it is needed, `content` in it, which that account owns, and ways to them that work
//! whoever may pass through the directories above. Never: a file given away that neither root nor the agent made: what lies in
//! a folder of another account is left as it is, and no link is followed.

use super::PrivilegeError;
use super::identity::Account;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, mkdirat};
use nix::unistd::{AccessFlags, Uid, access, fchown, fchownat};
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Folders in folders that are given over.
const DEPTH_MAX: usize = 16;
const NO_LINK: OFlag = OFlag::O_DIRECTORY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// An open folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

/// `keys`, `log`, and `content` where something is stored or salted.
#[derive(Debug)]
pub struct Folders {
    pub keys: Folder,
    pub log: Folder,
    pub content: Option<Folder>,
}

impl Folders {
    /// Opens them in `dir`, and makes what is not there. Folders that root made are given to the account.
    pub fn prepare(dir: &Path, account: Account, content: bool) -> Result<Self, PrivilegeError> {
        let wrong = |error: nix::errno::Errno| problem(dir, format!("cannot be made or opened: {error}"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(dir)
            .map_err(|error| problem(dir, unmade(&error)))?;
        let place = open(dir, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(wrong)?;
        let folder = |name: &str, mode| -> Result<Folder, PrivilegeError> {
            let path = dir.join(name);
            match mkdirat(&place, name, Mode::from_bits_truncate(mode)) {
                Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
                Err(error) => return Err(problem(&path, unmade(&error))),
            }
            let fd = openat(&place, name, NO_LINK, Mode::empty())
                .map_err(|error| problem(&path, format!("cannot be opened: {error}")))?;
            give(&path, &fd, account)?;
            Ok(Folder { path, fd })
        };
        Ok(Self {
            keys: folder("keys", 0o700)?,
            log: folder("log", 0o750)?,
            content: content.then(|| folder("content", 0o750)).transpose()?,
        })
    }
}

impl Folder {
    /// The way to it: its path if this process may walk it now, else the descriptor, which needs no right on what lies above.
    pub fn reachable(&self) -> PathBuf {
        if access(&self.path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok() {
            self.path.clone()
        } else {
            PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
        }
    }

    /// What a person calls it.
    pub fn shown(&self) -> String {
        format!("in {}", self.path.display())
    }
}

fn unmade(error: &dyn std::fmt::Display) -> String {
    format!("cannot be made: {error}; give another place with --dir")
}

fn problem(path: &Path, problem: String) -> PrivilegeError {
    PrivilegeError::Folder {
        path: path.display().to_string(),
        problem,
    }
}

/// Gives a folder of root's, or of an agent without an account, and what is in it to the account, the folder itself last.
fn give(path: &Path, fd: &OwnedFd, account: Account) -> Result<(), PrivilegeError> {
    let wrong = |error: nix::errno::Errno| problem(path, format!("cannot be given to its account: {error}"));
    let owner = fstat(fd).map_err(wrong)?;
    if owner.st_uid == account.uid.as_raw() || !Uid::effective().is_root() {
        return Ok(());
    }
    let known = [0, Account::UNNAMED.uid.as_raw()].contains(&owner.st_uid);
    if !known || owner.st_mode & 0o022 != 0 {
        let said = format!(
            "belongs to uid {} or is writable by others; if that is meant, run `chown -R {} {1}`",
            owner.st_uid, account.uid,
        );
        return Err(problem(path, said.replace("{1}", &path.display().to_string())));
    }
    give_inside(fd, account, DEPTH_MAX).map_err(wrong)?;
    fchown(fd, Some(account.uid), Some(account.gid)).map_err(wrong)
}

fn give_inside(folder: &OwnedFd, account: Account, depth: usize) -> nix::Result<()> {
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd())).map_err(|error| errno(&error))?
    {
        names.push(entry.map_err(|error| errno(&error))?.file_name());
    }
    for name in names {
        give_entry(folder, &name, account, depth)?;
    }
    Ok(())
}

fn give_entry(folder: &OwnedFd, name: &OsStr, account: Account, depth: usize) -> nix::Result<()> {
    let name = name.as_bytes();
    let found: FileStat = fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR && depth > 0 {
        let inner = openat(folder.as_fd(), name, NO_LINK, Mode::empty())?;
        give_inside(&inner, account, depth - 1)?;
    }
    let (uid, gid) = (Some(account.uid), Some(account.gid));
    fchownat(folder.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
}

fn errno(error: &std::io::Error) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Gid;
    use std::os::unix::fs::{MetadataExt, symlink};

    const OTHER: u32 = 4711;

    fn other() -> Account {
        Account {
            uid: Uid::from_raw(OTHER),
            gid: Gid::from_raw(OTHER),
        }
    }

    #[test]
    fn folders_are_made_for_whoever_works() {
        let dir = tempfile::tempdir().unwrap();
        let own = Account {
            uid: Uid::effective(),
            gid: Gid::effective(),
        };
        let folders = Folders::prepare(&dir.path().join("new"), own, true).unwrap();
        assert!(folders.keys.reachable().ends_with("new/keys"));
        let mode = |path: PathBuf| std::fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(folders.keys.reachable()), 0o700);
        assert_eq!(mode(folders.log.reachable()), 0o750);
    }

    #[test]
    fn what_root_made_is_given_over_and_no_link_is_followed() {
        if !Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        let deep = dir.path().join("log/deep");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), "").unwrap();
        symlink(&outside, deep.join("link")).unwrap();
        Folders::prepare(dir.path(), other(), false).unwrap();
        let owner = |path: &Path| std::fs::symlink_metadata(path).unwrap().uid();
        assert_eq!(owner(&outside), 0);
        assert_eq!(owner(dir.path()), 0);
        for given in ["log", "log/deep", "log/deep/file", "log/deep/link", "keys"] {
            assert_eq!(owner(&dir.path().join(given)), OTHER, "{given}");
        }
    }

    #[test]
    fn an_account_that_is_made_later_gets_what_was_written_without_one() {
        if !Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        Folders::prepare(dir.path(), Account::UNNAMED, false).unwrap();
        Folders::prepare(dir.path(), other(), false).unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("log")).unwrap().uid(), OTHER);
    }

    #[test]
    fn a_folder_of_another_account_is_left_alone() {
        if !Uid::effective().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        Folders::prepare(dir.path(), other(), false).unwrap();
        let third = Account {
            uid: Uid::from_raw(OTHER + 1),
            ..other()
        };
        let error = Folders::prepare(dir.path(), third, false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("chown -R 4712") && error.contains("uid 4711"),
            "{error}"
        );
    }
}
