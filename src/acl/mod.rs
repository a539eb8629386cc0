//! Who may do what: users, their passwords and permissions (commands.md 9, config.md 4.5).
//!
//! Pure rules over text. The conf file, an ACL file and ACL SETUSER are read by the same functions, and a user is
//! printed in one form, which stock reads as well. Asked by `conf`, which has `user` lines, and by `server`, which
//! admits and refuses. Never reads a file, a clock or a socket, and knows of connections nothing at all.

pub mod commands;
mod describe;
pub mod digest;
pub mod error;
pub mod selector;
pub mod user;
pub mod users;

pub use error::RuleError;
pub use selector::{Access, Channels, Denial, Origin, Selector};
pub use user::{PubsubDefault, User};
pub use users::{Account, Declaration, Users};

#[cfg(test)]
mod tests;
