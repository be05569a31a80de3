//! The users of a run: kept as files, a few of them in memory.
//!
//! In: the name of a user's file. Out: its keys, made at first need. Never: more users than
//! [`limits::CONTENT_USERS`], nor more new ones in one commit than [`limits::CONTENT_NEW_USERS`]: the rest are of a salt that is thrown away,
//! and their content is not stored.

use super::StoreError;
use crate::content::age::Recipient;
use crate::content::dir::Dir;
use crate::content::user::{self, User};
use crate::limits;
use crate::record::hash::hex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::rc::Rc;
use zeroize::Zeroizing;

/// Longest file of a user: a thousand sets of recipients.
const FILE_BYTES: u64 = 256 * 1024;

/// Whose a record is.
#[derive(Debug)]
pub enum Owner {
    Kept(Rc<User>),
    /// There are too many: of a salt that is thrown away.
    Refused(User),
    /// It could not be kept: the same.
    Failed(User, StoreError),
}

impl Owner {
    pub fn user(&self) -> &User {
        match self {
            Self::Kept(user) => user,
            Self::Refused(user) | Self::Failed(user, _) => user,
        }
    }
}

#[derive(Debug)]
pub struct Users {
    users: Dir,
    keys: Dir,
    cached: HashMap<String, Rc<User>>,
    count: usize,
    new: usize,
    unsynced: bool,
}

/// The name of a user's file, from what the pipeline calls the user.
pub fn tag(user_id: Option<&str>) -> String {
    match user_id {
        None => "none".into(),
        Some(id) => match (id.strip_prefix("hmac-sha256:"), id.strip_prefix("uid:")) {
            (Some(digest), _)
                if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                digest.into()
            }
            (_, Some(uid)) if uid.len() < 20 && uid.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("uid-{uid}")
            }
            _ => hex(&Sha256::digest(id)),
        },
    }
}

impl Users {
    pub fn open(content: &Dir) -> io::Result<Self> {
        let users = content.sub("users", 0o700)?;
        let count = users.list()?.len();
        Ok(Self {
            keys: content.sub("keys", 0o750)?,
            users,
            cached: HashMap::new(),
            count,
            new: 0,
            unsynced: false,
        })
    }

    /// Whose a record with this tag is.
    pub fn owner(&mut self, tag: &str, random: &mut File) -> Owner {
        match self.find_or_make(tag, random) {
            Ok(Some(user)) => Owner::Kept(user),
            Ok(None) => Owner::Refused(User::passing(random)),
            Err(error) => Owner::Failed(User::passing(random), error),
        }
    }

    /// None when there are too many.
    fn find_or_make(&mut self, tag: &str, random: &mut File) -> Result<Option<Rc<User>>, StoreError> {
        if let Some(user) = self.find(tag)? {
            return Ok(Some(user));
        }
        if self.count >= limits::CONTENT_USERS || self.new >= limits::CONTENT_NEW_USERS {
            return Ok(None);
        }
        self.new += 1;
        let user = User::generate(random)?;
        self.keep(tag, user).map(Some)
    }

    /// None when there is none. One that cannot be read is an error: a new one in its place could not be erased whole.
    fn find(&mut self, tag: &str) -> Result<Option<Rc<User>>, StoreError> {
        if let Some(user) = self.cached.get(tag) {
            return Ok(Some(Rc::clone(user)));
        }
        let file = match self.users.read(tag, FILE_BYTES) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(at_users(source)),
        };
        let bytes = Zeroizing::new(file.bytes);
        let user = std::str::from_utf8(&bytes).ok().and_then(User::parse);
        let Some(user) = user.map(Rc::new) else {
            return Err(at_users(io::ErrorKind::InvalidData.into()));
        };
        self.cache(tag, &user);
        Ok(Some(user))
    }

    fn cache(&mut self, tag: &str, user: &Rc<User>) {
        if self.cached.len() >= limits::CONTENT_USERS_CACHED {
            self.cached.clear();
        }
        self.cached.insert(tag.to_owned(), Rc::clone(user));
    }

    fn keep(&mut self, tag: &str, user: User) -> Result<Rc<User>, StoreError> {
        let known = self.users.bytes_of(tag).is_ok();
        let written = self.users.replace(tag, user.to_text().as_bytes(), 0o600);
        written.map_err(at_users)?;
        self.unsynced = true;
        self.count += usize::from(!known);
        let user = Rc::new(user);
        self.cache(tag, &user);
        Ok(user)
    }

    /// The user with its key for these recipients, made when there is none.
    pub fn key(
        &mut self,
        tag: &str,
        recipients: &[Recipient],
        random: &mut File,
    ) -> Result<(Rc<User>, String, Recipient), StoreError> {
        let readers = user::readers(recipients);
        let gone = || at_users(io::ErrorKind::NotFound.into());
        let user = self.find(tag)?.ok_or_else(gone)?;
        if let Some((key, recipient)) = user.key(&readers) {
            let id = key.id.clone();
            return Ok((user, id, recipient));
        }
        let mut user = User::parse(&user.to_text()).ok_or_else(gone)?;
        let wrapped = user.add_key(recipients, random)?;
        let written = self
            .keys
            .replace(&format!("{}.age", wrapped.id), &wrapped.file, 0o640);
        written.map_err(|source| StoreError::Io {
            path: "content/keys".into(),
            source,
        })?;
        let user = self.keep(tag, user)?;
        let (key, recipient) = user.key(&readers).ok_or_else(gone)?;
        let id = key.id.clone();
        Ok((user, id, recipient))
    }

    /// Makes what was made durable: a key before what is encrypted to it.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        if !self.unsynced {
            return Ok(());
        }
        let synced = self.keys.sync().and_then(|()| self.users.sync());
        self.unsynced = synced.is_err();
        synced.map_err(|source| StoreError::Io {
            path: "content/keys".into(),
            source,
        })
    }

    /// A commit is over; the next may have new users again.
    pub fn settled(&mut self) {
        self.new = 0;
    }

    /// The user called `tag`, if there is one.
    pub fn known(&mut self, tag: &str) -> Option<Rc<User>> {
        self.find(tag).ok().flatten()
    }

    /// Destroys salt and keys.
    pub fn erase(&mut self, tag: &str, key_ids: &[String]) -> io::Result<()> {
        self.cached.remove(tag);
        for id in key_ids {
            self.keys.destroy(&format!("{id}.age"))?;
        }
        self.users.destroy(tag)?;
        self.count = self.count.saturating_sub(1);
        self.keys.sync()?;
        self.users.sync()
    }
}

fn at_users(source: io::Error) -> StoreError {
    StoreError::Io {
        path: "content/users".into(),
        source,
    }
}
