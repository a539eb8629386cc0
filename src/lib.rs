//! `sentineld`: a drop-in replacement for `redis-sentinel` and `valkey-sentinel`.

pub mod driver;
pub mod publish;
pub mod sentinel;
