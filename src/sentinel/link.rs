//! (written with the core)
