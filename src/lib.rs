//! `sentineld`: a drop-in replacement for `redis-sentinel` and `valkey-sentinel`.

pub mod cli;
pub mod conf;
pub mod driver;
pub mod publish;
pub mod sentinel;
pub mod store;
