//! One file for each hook family.

mod floor;
mod process;
mod socket;
pub mod stream;
mod syscall;
