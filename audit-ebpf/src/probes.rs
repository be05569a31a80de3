//! One file for each hook family.

mod counted;
mod floor;
pub mod go;
mod kprobes;
mod moved;
mod place;
pub mod process;
mod socket;
pub mod stream;
mod syscall;
pub mod tls;
pub mod transport;
