//! What the test suites and the benchmarks share: a real inference server with a tiny model, real
//! clients, and guards that start a process, wait for a condition and end it again.
//!
//! Nothing sleeps for a guessed time: every wait polls a condition and fails with its name at a deadline.

#![allow(
    clippy::disallowed_methods,
    reason = "the ban on reading the clock is for the agent's pure core; deadlines of tests are real time"
)]

pub mod agent;
pub mod client;
pub mod command;
pub mod container;
pub mod exchange;
pub mod fixture;
pub mod front;
pub mod live;
pub mod process;
pub mod record;
pub mod rights;
pub mod slm;
pub mod tls;
pub mod wait;
pub mod wire;
