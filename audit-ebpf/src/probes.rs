//! One file for each hook family.

mod floor;
pub mod go;
mod moved;
mod place;
pub mod process;
mod socket;
pub mod stream;
mod syscall;
pub mod tls;
pub mod transport;
