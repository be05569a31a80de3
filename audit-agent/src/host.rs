//! Facts about this host, looked up when the pure core asks.
//!
//! In: pids, addresses. Out: [`crate::event::HostFact`] material. Never: an error that stops anything: what can't be read
//! is absent.

pub mod cgroup;
pub mod clock;
mod container;
pub mod digest;
pub mod gguf;
pub mod models;
pub mod process;
pub mod sockets;
pub mod system;
#[cfg(feature = "live")]
pub mod tls;
