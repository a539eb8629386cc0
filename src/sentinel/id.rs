//! Names and numbers that must not be mixed up.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The configured name of a master. Case-sensitive. Identifies a master in commands and hellos.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MasterName(pub Arc<str>);

/// The id of a Sentinel: 40 lower-case hex characters, drawn once and kept for ever.
///
/// The length of a peer's id is not checked, as in stock.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub Arc<str>);

macro_rules! text_id {
    ($type:ident) => {
        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                $type(Arc::from(text))
            }
        }

        impl $type {
            /// The text as configured or received.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}
text_id!(MasterName);
text_id!(RunId);

/// A logical time of the whole group of Sentinels. Stock calls the registers that hold one `current_epoch` (process),
/// `leader_epoch` (my last vote for a master), `failover_epoch` (my attempt) and `config_epoch` (a master's address).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A revision of one master's saved record; grows by one with each `Output::Persist` of that master.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rev(pub u64);

/// One connection of one machine. Never reused, so a late reply from a closed connection finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Stands for whoever waits for an `Answer`; chosen by the driver, meaningless to the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// A password. Its `Debug` form hides it, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub Arc<[u8]>);

impl From<&[u8]> for Secret {
    fn from(bytes: &[u8]) -> Self {
        Secret(Arc::from(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("******")
    }
}
