//! One file for each hook family.

mod announce;
mod fentry;
mod floor;
pub mod go;
mod kprobes;
mod libraries;
mod memory;
mod moved;
mod place;
pub mod process;
mod sequence;
mod socket;
pub mod stream;
mod syscall;
pub mod tls;
pub mod transport;
