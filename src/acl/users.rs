//! All users by name, and the texts that they are read from and written to.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::RuleError;
use super::selector::{Origin, has_blank, remarks};
use super::user::{PubsubDefault, User};

/// The user that every connection begins as. It cannot be removed.
pub const DEFAULT: &[u8] = b"default";

/// A user among others.
#[derive(Clone, Debug)]
pub struct Account {
    /// Differs between users who had the same name one after the other: who came in as the one is not the other.
    pub serial: u64,
    /// Their rules.
    pub user: Arc<User>,
}

/// All users. There is always one called `default`.
#[derive(Clone, Debug)]
pub struct Users {
    accounts: BTreeMap<Vec<u8>, Account>,
    last_serial: u64,
    pubsub: PubsubDefault,
    remarks: Vec<String>,
}

/// A user as a file has it: `user <name> <rules>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The name.
    pub name: Vec<u8>,
    /// The rules, selectors in one piece.
    pub rules: Vec<Vec<u8>>,
}

/// A selector that is not closed; the place of the word that opens it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unmatched(pub usize);

/// Puts the words of a selector together: `(+ping`, `~a)` become one rule.
pub fn rules_of<T: AsRef<[u8]>>(words: &[T]) -> Result<Vec<Vec<u8>>, Unmatched> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open = None;
    for (at, word) in words.iter().enumerate() {
        let word = word.as_ref();
        if open.is_some() {
            let selector = rules.last_mut().expect("it was opened");
            selector.push(b' ');
            selector.extend_from_slice(word);
        } else {
            rules.push(word.to_vec());
            open = word.starts_with(b"(").then_some(at);
        }
        if word.ends_with(b")") {
            open = None;
        }
    }
    open.map_or(Ok(rules), |at| Err(Unmatched(at)))
}

impl Users {
    /// Nobody but an unrestricted `default`.
    pub fn new(pubsub: PubsubDefault) -> Users {
        let mut users = Users { accounts: BTreeMap::new(), last_serial: 0, pubsub, remarks: Vec::new() };
        users.put(DEFAULT, User::unrestricted(pubsub));
        users
    }

    /// From the `user` lines and `requirepass` of a conf file. The error is a line for the log.
    pub fn declared(
        declarations: &[Declaration],
        requirepass: Option<&[u8]>,
        pubsub: PubsubDefault,
    ) -> Result<Users, String> {
        let mut users = Users::new(pubsub);
        if let Some(password) = requirepass {
            let mut default = User::unrestricted(pubsub);
            default.require(password);
            users.put(DEFAULT, default);
        }
        for Declaration { name, rules } in declarations {
            if has_blank(name) {
                return Err("Spaces not allowed in ACL usernames".to_owned());
            }
            let mut user = User::new(pubsub);
            if name == DEFAULT {
                user.apply(b"reset", Origin::File).expect("a rule of stock");
            }
            for rule in rules {
                user.apply(rule, Origin::File).map_err(|error| {
                    let [rule, name] = [rule, name].map(|bytes| String::from_utf8_lossy(bytes));
                    format!("Error loading ACL rule '{rule}' for the user named '{name}': {error}")
                })?;
            }
            users.put(name, user);
            users.remarks.extend(rules.iter().flat_map(|rule| remarks(rule)));
        }
        Ok(users)
    }

    /// From the text of an ACL file; users that are not in it are gone, but for `default`, which is unrestricted then.
    /// `file` is its name as messages have it. The error is stock's for all lines together.
    pub fn from_file(text: &[u8], file: &str, pubsub: PubsubDefault) -> Result<Users, String> {
        let mut users = Users::new(pubsub);
        let mut seen: Vec<&[u8]> = Vec::new();
        let mut errors: Vec<String> = Vec::new();
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let (number, line) = (at + 1, line.trim_ascii());
            let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
            match words.as_slice() {
                [b""] => {}
                [b"user", name, ..] if seen.contains(name) => {
                    let name = String::from_utf8_lossy(name);
                    errors.push(format!("WARNING: Duplicate user '{name}' found on line {number}."));
                }
                [b"user", name, ..] if has_blank(name) => {
                    errors.push(format!("{file}:{number}: Spaces not allowed in ACL usernames."));
                }
                [b"user", name, rules @ ..] => {
                    seen.push(name);
                    match user_of(rules, pubsub) {
                        Ok(user) => {
                            users.put(name, user);
                            users.remarks.extend(rules.iter().flat_map(|rule| remarks(rule)));
                        }
                        Err(all) => errors.extend(all.iter().map(|error| format!("{file}:{number}: {error}."))),
                    }
                }
                _ => errors.push(format!("{file}:{number} should start with user keyword followed by the username.")),
            }
        }
        if errors.is_empty() {
            return Ok(users);
        }
        errors.push(
            "WARNING: ACL errors detected, no change to the previously active ACL rules was performed".to_owned(),
        );
        Err(errors.join(" "))
    }

    /// What the log is to say about the rules that they were read from.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Everybody, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Account)> {
        self.accounts.iter().map(|(name, account)| (name.as_slice(), account))
    }

    /// A user by name.
    pub fn find(&self, name: &[u8]) -> Option<&Account> {
        self.accounts.get(name)
    }

    /// The user `default`.
    pub fn default_account(&self) -> &Account {
        &self.accounts[DEFAULT]
    }

    /// The rules of a user who is to be changed; a new one's when there is none of that name.
    pub fn draft(&self, name: &[u8]) -> User {
        self.find(name).map_or_else(|| User::new(self.pubsub), |account| User::clone(&account.user))
    }

    /// Adds a user, or changes one, who stays the same.
    pub fn put(&mut self, name: &[u8], user: User) {
        let user = Arc::new(user);
        if let Some(account) = self.accounts.get_mut(name) {
            account.user = user;
        } else {
            self.last_serial += 1;
            self.accounts.insert(name.to_vec(), Account { serial: self.last_serial, user });
        }
    }

    /// Removes a user. Whether there was one.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        self.accounts.remove(name).is_some()
    }

    /// Puts others in the place of all. Stock takes `default` for the same as before, and nobody else.
    pub fn replace(&mut self, others: Users) {
        let Users { mut accounts, .. } = others;
        let default = self.default_account().serial;
        for (name, account) in &mut accounts {
            self.last_serial += 1;
            account.serial = if name == DEFAULT { default } else { self.last_serial };
        }
        self.accounts = accounts;
    }

    /// What channels new users may use.
    pub fn pubsub_default(&self) -> PubsubDefault {
        self.pubsub
    }

    /// `user <name> <rules>` as words, for each by name.
    pub fn lines(&self) -> impl Iterator<Item = Vec<Vec<u8>>> {
        self.iter().map(|(name, account)| line(name, &account.user))
    }

    /// The text of an ACL file.
    pub fn file_text(&self) -> Vec<u8> {
        self.lines().flat_map(|words| [words.join(&b' '), b"\n".to_vec()].concat()).collect()
    }
}

/// `user <name> <rules>` as words.
pub fn line(name: &[u8], user: &User) -> Vec<Vec<u8>> {
    let mut words = vec![b"user".to_vec(), name.to_vec()];
    words.extend(user.rules());
    words
}

/// The errors are unknown names, which are told with their rules, and the first of all others, which is told alone, as
/// it may hold a password. Deviates: an open parenthesis crashes stock.
fn user_of(words: &[&[u8]], pubsub: PubsubDefault) -> Result<User, Vec<String>> {
    let rules = rules_of(words).map_err(|Unmatched(at)| {
        vec![format!("Unmatched parenthesis in acl selector starting at '{}'", String::from_utf8_lossy(words[at]))]
    })?;
    let mut user = User::new(pubsub);
    let (mut errors, mut is_told) = (Vec::new(), false);
    for rule in &rules {
        let Err(error) = user.apply(rule, Origin::File) else { continue };
        if error == RuleError::Unknown {
            errors.push(format!("Error in applying operation '{}': {error}", String::from_utf8_lossy(rule)));
        } else if !std::mem::replace(&mut is_told, true) {
            errors.push(error.to_string());
        }
    }
    if errors.is_empty() { Ok(user) } else { Err(errors) }
}
