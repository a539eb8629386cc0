//! The client side of the daemon over real sockets, byte by byte. Monitors and supervisor are played by the test
//! ([`world`]); what is tested is what a client sends and gets. Numbers in comments are lines of the checklist in
//! tests/spec/commands.md.
//!
//! [`control`] is the other side: the real supervisor and its monitors, and the client is the test.

mod admin;
mod connection;
mod control;
mod dispatch;
mod events;
mod lookups;
mod protocol;
mod slow;
mod votes;
mod wire;
mod world;
