//! Sockets.

pub mod listen;
pub mod tls;
