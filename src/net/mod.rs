//! Sockets.

pub mod listen;
