//! The fuzz target `request`: see ../bodies.rs.

#![no_main]
#![allow(dead_code, reason = "each target uses one body")]

#[path = "../bodies.rs"]
mod bodies;
#[path = "../commands.rs"]
mod commands;
#[path = "../monitor_ops.rs"]
mod monitor_ops;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = bodies::BODIES.iter().find(|(name, _)| *name == "request").expect("named above").1;
    body(data);
});
