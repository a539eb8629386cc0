//! Why a rule cannot be applied, in stock's words.

use thiserror::Error;

/// What is wrong with one rule of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RuleError {
    /// A name that no command of a Sentinel and no category has.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// No rule looks like this.
    #[error("Syntax error")]
    Syntax,
    /// `~...` after `~*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try \
         'resetkeys' to start with an empty list of patterns"
    )]
    AllKeys,
    /// `&...` after `&*`.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. \
         Try 'resetchannels' to start with an empty list of channels"
    )]
    AllChannels,
    /// `<...` or `!...` of a password that the user does not have.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// `#...` or `!...` that is no digest.
    #[error("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")]
    BadDigest,
    /// `+command|sub|word`.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
}
