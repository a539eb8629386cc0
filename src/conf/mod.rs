//! `sentinel.conf` as data: what stock reads from it and what a save writes back.
//!
//! The daemon loads once at start ([`load::load`]), the store renders at every save ([`image::ConfImage`]), and the
//! simulator does both. Nothing here reads a clock, draws a random number, resolves a host name or changes the
//! process; the file system is looked at only through [`files::Files`].

pub mod daemon;
pub mod error;
pub mod files;
pub mod fragment;
pub mod identity;
pub mod image;
pub mod lexer;
pub mod load;
pub mod number;
pub mod plain;
pub mod sentinel_line;
pub mod settings;
pub mod slot;
pub mod state;
pub mod table;
pub mod tls;
pub mod user;
