//! Who may do anything at all: the default user's password.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The user `default`, which every connection begins as.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum DefaultUser {
    /// On, and needs no password: connections are authenticated from the start.
    #[default]
    Open,
    /// On; any of these passwords opens, known by their SHA-256 only. None: nobody can authenticate.
    Locked(Vec<[u8; 32]>),
    /// `user default off`
    Off,
}

/// Which channels the default user may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Channels {
    /// `&*`
    #[default]
    All,
    /// `resetchannels`
    None,
}

impl DefaultUser {
    /// From `requirepass`; an empty password is none.
    pub fn with_password(password: &[u8]) -> DefaultUser {
        if password.is_empty() { DefaultUser::Open } else { DefaultUser::Locked(vec![Sha256::digest(password).into()]) }
    }

    /// Whether the name is this user's and the password opens it. Takes the same time for every wrong password.
    pub fn admits(&self, name: &[u8], password: &[u8]) -> bool {
        if name != b"default" {
            return false;
        }
        match self {
            DefaultUser::Open => true,
            DefaultUser::Off => false,
            DefaultUser::Locked(hashes) => {
                let given: [u8; 32] = Sha256::digest(password).into();
                let mut admitted = subtle::Choice::from(0);
                for hash in hashes {
                    admitted |= given.ct_eq(hash);
                }
                admitted.into()
            }
        }
    }
}

impl fmt::Debug for DefaultUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DefaultUser::Open => f.write_str("Open"),
            DefaultUser::Locked(hashes) => write!(f, "Locked({} passwords)", hashes.len()),
            DefaultUser::Off => f.write_str("Off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_the_right_password_only() {
        let user = DefaultUser::with_password(b"foobar");
        assert!(user.admits(b"default", b"foobar"));
        assert!(!user.admits(b"default", b"foobaz"));
        assert!(!user.admits(b"default", b""));
        assert!(!user.admits(b"Default", b"foobar"));
        assert!(!DefaultUser::Locked(vec![]).admits(b"default", b""));
        assert!(!DefaultUser::Off.admits(b"default", b""));
        assert_eq!(DefaultUser::with_password(b""), DefaultUser::Open);
        assert_eq!(format!("{user:?}"), "Locked(1 passwords)");
    }
}
