//! The wire format, in both directions.
//!
//! Requests of clients go through our own scanner ([`request`]), replies of servers and peers through a framer that
//! bounds them ([`node`]) before `redis-protocol` sees a byte, replies to clients through one type that writes RESP2
//! or RESP3 ([`reply`]). Nothing in here reads a socket.

pub mod int;
pub mod node;
pub mod reply;
pub mod request;
