//! The `user` lines and `aclfile` (config.md 4.5). The rules are those of [`crate::acl`]; here is what a conf file
//! makes of them, and when it is refused.

use std::path::PathBuf;

use crate::acl::users::{Declaration, Unmatched, rules_of};
use crate::acl::{Origin, PubsubDefault, RuleError, User, Users};
use crate::sentinel::id::Secret;

/// Where the users of this Sentinel come from.
#[derive(Clone, Debug)]
pub enum UserSource {
    /// The conf file, where they are saved as well.
    Conf(Users),
    /// An ACL file, to be read at start; as named by `aclfile`, from `dir`.
    File {
        /// The file.
        path: PathBuf,
        /// `acl-pubsub-default`
        pubsub: PubsubDefault,
    },
    /// Nowhere: the process cannot start.
    Refused {
        /// Lines for the log.
        reasons: Vec<String>,
        /// The last one.
        last: String,
    },
}

impl UserSource {
    /// Whether `requirepass` opens nothing. A save writes a `user default` line, and from then on `requirepass` changes
    /// nothing, in stock too.
    pub(super) fn overrides(&self, requirepass: &[u8]) -> bool {
        match self {
            UserSource::Conf(users) => !users.default_account().user.has_password(requirepass),
            UserSource::File { .. } => true,
            UserSource::Refused { .. } => false,
        }
    }
}

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct UserLines {
    /// `acl-pubsub-default`, wherever in the file it stands.
    pub(super) pubsub: PubsubDefault,
    /// `aclfile`
    pub(super) file: Option<PathBuf>,
    declarations: Vec<Declaration>,
}

impl UserLines {
    /// Reads a line's name and rules. The error is a text for the fatal block. An unknown command or category is none:
    /// stock tells it only when everything else has started.
    pub(super) fn read(&mut self, name: &[u8], words: &[Vec<u8>]) -> Result<(), String> {
        let bad =
            |what: &[u8], why: &str| format!("Error in user declaration '{}': {why}", String::from_utf8_lossy(what));
        if self.declarations.iter().any(|known| known.name == name) {
            return Err(bad(name, "Duplicate user found. A user can only be defined once in config files"));
        }
        // Deviates: stock has no text of its own for an open parenthesis.
        let rules = rules_of(words).map_err(|Unmatched(at)| {
            let word = String::from_utf8_lossy(&words[at]);
            bad(name, &format!("Unmatched parenthesis in acl selector starting at '{word}'."))
        })?;
        let mut user = User::new(self.pubsub);
        for (at, rule) in rules.iter().enumerate() {
            match user.apply(rule, Origin::File) {
                Ok(()) | Err(RuleError::Unknown) => {}
                // Stock counts from the start of the line, and so names another word than the wrong one.
                Err(error) => {
                    let what = [b"user".as_slice(), name].get(at).copied();
                    return Err(bad(what.unwrap_or_else(|| &rules[at - 2]), &error.to_string()));
                }
            }
        }
        self.declarations.push(Declaration { name: name.to_vec(), rules });
        Ok(())
    }

    /// What all lines add up to.
    pub(super) fn source(&self, requirepass: Option<&Secret>) -> UserSource {
        match &self.file {
            Some(_) if !self.declarations.is_empty() => {
                UserSource::Refused { reasons: Vec::new(), last: BOTH.to_owned() }
            }
            Some(path) => UserSource::File { path: path.clone(), pubsub: self.pubsub },
            None => {
                let requirepass = requirepass.map(|password| password.0.as_ref());
                match Users::declared(&self.declarations, requirepass, self.pubsub) {
                    Ok(users) => UserSource::Conf(users),
                    Err(line) => UserSource::Refused {
                        reasons: vec![line],
                        last: "Critical error while loading ACLs. Exiting.".to_owned(),
                    },
                }
            }
        }
    }
}

const BOTH: &str = "Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is \
invalid. This setup is very likely to lead to configuration errors and security holes, please define either an ACL file \
or declare users directly in your redis.conf, but not both.";
