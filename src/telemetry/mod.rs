//! What the operator sees: the log.

pub mod line;
pub mod log;
