//! The account that the agent works as.
//!
//! In: the configured name, and who started the agent. Out: uid and gid. Never: root.

use super::{PrivilegeError, keep};
use nix::unistd::{Gid, Uid, User, getresgid, getresuid, setgroups, setresgid, setresuid};

/// Made by packages; taken when nothing else is configured and it is there.
pub const DEFAULT: &str = "audit-agent";
/// Stands in for an account that has not been made: in the range that neither distributions nor systemd give out (60578 to
/// 61183, systemd's UIDS-GIDS.md). Not nobody's 65534, which containers run servers as: they would own the log's key.
const UNNAMED: u32 = 60_911;
/// Reads the log by its group; from the same range.
const READER: u32 = 60_912;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Account {
    pub uid: Uid,
    pub gid: Gid,
}

impl Account {
    /// A number that no other program has.
    pub const UNNAMED: Self = Self {
        uid: Uid::from_raw(UNNAMED),
        gid: Gid::from_raw(UNNAMED),
    };

    /// For a process that may read what this account's group may, and own nothing. Only root can make one: else it is the same
    /// account.
    pub fn reader(self) -> Self {
        let uid = if Uid::effective().is_root() {
            Uid::from_raw(READER)
        } else {
            self.uid
        };
        Self { uid, ..self }
    }

    /// The account to work as: the caller's own unless that is root's, then `configured` (a name or a number), else
    /// `audit-agent` if there is such an account, else [`Account::UNNAMED`].
    pub fn choose(configured: &str) -> Result<Self, PrivilegeError> {
        if !Uid::effective().is_root() {
            return Ok(Self {
                uid: Uid::effective(),
                gid: Gid::effective(),
            });
        }
        if configured.is_empty() {
            return Ok(by_name(DEFAULT).unwrap_or(Self::UNNAMED));
        }
        let account = by_name(configured).or_else(|| by_number(configured));
        let account = account.ok_or_else(|| PrivilegeError::NoAccount(configured.into()))?;
        if account.uid.is_root() {
            return Err(PrivilegeError::Root(configured.into()));
        }
        Ok(account)
    }
}

fn by_name(name: &str) -> Option<Account> {
    let user = User::from_name(name).ok().flatten()?;
    Some(Account {
        uid: user.uid,
        gid: user.gid,
    })
}

/// An account need not have a name: containers and service managers make such.
fn by_number(text: &str) -> Option<Account> {
    let number: u32 = text.parse().ok()?;
    let gid = User::from_uid(number.into())
        .ok()
        .flatten()
        .map_or(Gid::from_raw(number), |user| user.gid);
    Some(Account {
        uid: number.into(),
        gid,
    })
}

/// Changes real, effective and saved ids and leaves all other groups. Permitted capabilities stay until they are reduced.
pub fn become_account(account: &Account) -> Result<(), PrivilegeError> {
    let Account { uid, gid } = *account;
    let what = keep("the account it was started with");
    if getresuid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [uid; 3])
        && getresgid().is_ok_and(|ids| [ids.real, ids.effective, ids.saved] == [gid; 3])
    {
        return Ok(());
    }
    nix::sys::prctl::set_keepcaps(true).map_err(&what)?;
    setgroups(&[]).map_err(&what)?;
    setresgid(gid, gid, gid).map_err(&what)?;
    setresuid(uid, uid, uid).map_err(&what)?;
    nix::sys::prctl::set_keepcaps(false).map_err(&what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_never_chosen() {
        for configured in ["", "0", "root"] {
            match Account::choose(configured) {
                Ok(account) => assert!(!account.uid.is_root(), "{configured}"),
                Err(error) => assert!(error.to_string().contains("which is root"), "{error}"),
            }
        }
    }

    #[test]
    fn an_account_that_is_not_there_is_named_with_the_remedy() {
        if Uid::effective().is_root() {
            let error = Account::choose("no-such-account").unwrap_err().to_string();
            assert!(
                error.contains("no-such-account") && error.contains("useradd"),
                "{error}"
            );
            assert_eq!(Account::choose("4711").unwrap().uid.as_raw(), 4711);
        }
    }
}
