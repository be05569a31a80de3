//! audit-agent: who asked which model what, proved.
//!
//! ```text
//! capture -> event -> flow -> http -> infer -> policy -> record -> ledger -> sink
//! kernel     Input    byte    messages  Call    flags     lines     signed    stdout, file
//! ```
//!
//! Everything between [`event::Input`] and a signed line is a pure state machine: no clock, file,
//! socket, thread, environment or randomness. The edges (`capture`, `host`, `sink`, `cli`) feed it
//! and carry out what it asks for; a capture file holds the same inputs, so a replay gives the same bytes.

pub mod call;
pub mod capture;
pub mod cli;
pub mod config;
pub mod content;
pub mod event;
pub mod flow;
pub mod host;
pub mod http;
pub mod infer;
pub mod ledger;
pub mod limits;
#[cfg(feature = "live")]
pub mod monitor;
pub mod pipeline;
pub mod policy;
pub mod privilege;
pub mod record;
#[cfg(feature = "live")]
pub mod run;
pub mod sink;
