//! Sockets.

pub mod direct;
pub mod listen;
pub mod tls;
