//! `sentineld`: a drop-in replacement for `redis-sentinel` and `valkey-sentinel`.

pub mod acl;
pub mod check;
pub mod cli;
pub mod conf;
pub mod daemon;
pub mod driver;
pub mod net;
pub mod pattern;
pub mod publish;
pub mod resp;
pub mod sentinel;
pub mod server;
pub mod start;
pub mod store;
pub mod telemetry;
