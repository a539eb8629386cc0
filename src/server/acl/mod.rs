//! The users of the running process: one set for everybody, and who a connection is.
//!
//! Changes are made one at a time and published whole; a connection keeps the set that it saw last and looks whether
//! there is a newer one, which costs an atomic read. Whoever changes the set closes the connections that it leaves
//! without a user or with channels that are no longer theirs.

pub(crate) mod commands;
pub mod file;
pub mod log;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use super::Context;
use super::catalogue::TABLE;
use super::pubsub::Kind;
use super::table::{Entry, Found};
use crate::acl::commands::{CommandId, find};
use crate::acl::users::DEFAULT;
use crate::acl::{Access, Channels, Denial, User, Users};
use log::DenialLog;

/// All users, for everybody.
#[derive(Debug)]
pub struct Acl {
    users: watch::Sender<Arc<Users>>,
    /// Held while users change. Nothing waits under it.
    changing: Mutex<()>,
    /// `aclfile`, as the conf file names it.
    file: Option<PathBuf>,
    /// What was refused.
    pub log: DenialLog,
}

impl Acl {
    /// With these users. `file` is `aclfile`; `log_len` is `acllog-max-len`.
    pub fn new(users: Users, file: Option<PathBuf>, log_len: usize) -> Acl {
        Acl { users: watch::channel(Arc::new(users)).0, changing: Mutex::default(), file, log: DenialLog::new(log_len) }
    }

    /// The users, and every change of theirs.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Users>> {
        self.users.subscribe()
    }

    /// The users as they are now.
    pub fn users(&self) -> Arc<Users> {
        self.users.borrow().clone()
    }

    /// Changes users, unless that fails, and closes connections that have to go; the one that asked judges itself.
    pub(crate) fn change<T, E>(
        &self,
        context: &Context,
        asker: u64,
        change: impl FnOnce(&mut Users) -> Result<T, E>,
    ) -> Result<T, E> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.users();
        let mut after = Users::clone(&before);
        let outcome = change(&mut after)?;
        let after = Arc::new(after);
        self.users.send_replace(after.clone());
        for client in context.clients.list() {
            if client.id != asker && !exists(&after, &client.labels().user, client.labels().account) {
                client.cut_off();
            }
        }
        let fewer = |name: &[u8]| {
            let (before, after) = (before.find(name)?, after.find(name)?);
            after.user.has_fewer_channels(&before.user).then(|| after.user.clone())
        };
        context.hub.visit(|kind, name, client| {
            if client.id != asker
                && let Some(user) = fewer(&client.labels().user)
                && !user.permits_channel(name, kind == Kind::Pattern)
            {
                client.cut_off();
            }
        });
        Ok(outcome)
    }
}

fn exists(users: &Users, name: &[u8], serial: u64) -> bool {
    users.find(name).is_some_and(|account| account.serial == serial)
}

/// Who a connection is.
#[derive(Debug)]
pub(crate) struct Badge {
    reader: watch::Receiver<Arc<Users>>,
    /// The set that was seen last.
    users: Arc<Users>,
    name: Bytes,
    serial: u64,
    user: Arc<User>,
    /// By a password, or because none was needed when the connection was made.
    authenticated: bool,
}

/// What has become of a connection's user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing that matters.
    Fine,
    /// There are fewer channels than in these rules before.
    FewerChannels,
    /// The user is gone.
    Gone,
}

impl Badge {
    /// A new connection's: `default`.
    pub(crate) fn new(acl: &Acl) -> Badge {
        let mut reader = acl.subscribe();
        let users = reader.borrow_and_update().clone();
        let account = users.default_account().clone();
        let authenticated = account.user.is_open();
        let name = Bytes::from_static(DEFAULT);
        Badge { reader, users, name, serial: account.serial, user: account.user, authenticated }
    }

    /// Looks at the newest users.
    pub(crate) fn refresh(&mut self) -> Standing {
        // An error means that the process ends; the last set stays true.
        if !self.reader.has_changed().unwrap_or(false) {
            return Standing::Fine;
        }
        self.users = self.reader.borrow_and_update().clone();
        let account = self.users.find(&self.name).filter(|account| account.serial == self.serial);
        let Some(account) = account else { return Standing::Gone };
        let before = std::mem::replace(&mut self.user, account.user.clone());
        if self.user.has_fewer_channels(&before) { Standing::FewerChannels } else { Standing::Fine }
    }

    /// Becomes another user, if the password is right.
    pub(crate) fn log_in(&mut self, name: &[u8], password: &[u8]) -> bool {
        let account = self.users.find(name).filter(|account| account.user.admits(password));
        let Some(account) = account else { return false };
        self.name = Bytes::copy_from_slice(name);
        (self.serial, self.user, self.authenticated) = (account.serial, account.user.clone(), true);
        true
    }

    /// For whoever has to find the connection: its user's name and the account's serial.
    pub(crate) fn identity(&self) -> (Bytes, u64) {
        (self.name.clone(), self.serial)
    }

    /// Whether it has to authenticate itself before anything else.
    pub(crate) fn is_stranger(&self) -> bool {
        !self.authenticated && !self.users.default_account().user.is_open()
    }

    /// The users that it sees.
    pub(crate) fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// Its own user's name.
    pub(crate) fn name(&self) -> &Bytes {
        &self.name
    }

    /// Its own user.
    pub(crate) fn user(&self) -> &User {
        &self.user
    }
}

/// The permission that a command needs, by its place in the table.
static PERMISSIONS: LazyLock<Vec<Option<CommandId>>> = LazyLock::new(|| TABLE.iter().map(permission).collect());

/// None for what everybody may do.
fn permission(entry: &Entry) -> Option<CommandId> {
    if entry.is_for_strangers() { None } else { find(entry.name.as_bytes()) }
}

/// Whether a user may send these words. The first words are the command's name.
pub(crate) fn check(user: &User, found: Found, words: &[Bytes]) -> Result<(), Denial> {
    let channels = match found.entry.name {
        "subscribe" => Channels::Names,
        "psubscribe" => Channels::Patterns,
        "publish" => Channels::First,
        _ => Channels::None,
    };
    let own = if found.entry.container.is_some() { 2 } else { 1 };
    user.check(&Access { command: PERMISSIONS[usize::from(found.place)], arguments: &words[own..], channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command that rules cannot name would be open to everybody.
    #[test]
    fn every_command_has_a_permission_or_is_for_strangers() {
        for entry in TABLE {
            assert_eq!(permission(entry).is_none(), entry.is_for_strangers(), "{}", entry.name);
            if let Some(id) = permission(entry) {
                assert_eq!(entry.categories, id.categories(), "{}", entry.name);
            }
        }
    }

    /// commands.md 210: whatever stock has, a rule can name, and is here.
    #[test]
    fn every_command_of_stock_is_in_the_table() {
        for id in crate::acl::commands::all() {
            assert!(TABLE.iter().any(|entry| entry.name == id.name()), "{}", id.name());
        }
    }
}
