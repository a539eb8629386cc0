//! The configuration as a whole: any state survives a save, and stock reads what we write and writes what we read.

mod corpus;
mod generated;
mod parity;
mod round_trip;
mod stock;
mod swap;
