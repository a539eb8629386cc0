//! Real servers, real Sentinels, real failures.
//!
//! Every scenario is a function of the kind of Sentinel it runs with. `sentineld` runs all of them; stock runs those
//! that prove a case cheaply, and all of them with `E2E_ALL_STOCK=1`: a scenario that stock fails is itself wrong.

mod acl;
mod auth;
mod events;
mod failover;
mod lifecycle;
mod masters;
mod mixed;
mod outgoing;
mod restart;
mod rollback;
mod sandbox;
mod saves;
mod scripts;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the demo uses some more of it")]
mod support;
#[cfg(feature = "tls")]
mod tls;
mod unix;
mod versions;
