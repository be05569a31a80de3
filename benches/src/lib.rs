//! Measurements of audit-agent against a baseline of the same run.
//!
//! [`mock`] is the server under load, [`load`] the load, [`arm`] who watches meanwhile, [`cases`] what is
//! compared, [`tls`] the same over TLS, [`report`] the table. Runs with and without the agent alternate, so that a machine that
//! gets slower or faster meanwhile does so for both.

#![allow(
    clippy::disallowed_methods,
    reason = "the ban on reading the clock is for the agent's pure core; here time is what is measured"
)]

pub mod arm;
pub mod cases;
pub mod families;
pub mod ledger;
pub mod load;
pub mod mock;
pub mod replay;
pub mod report;
pub mod soak;
pub mod syscalls;
pub mod tls;
pub mod traffic;
pub mod unwatched;
pub mod usage;
pub mod wire;
