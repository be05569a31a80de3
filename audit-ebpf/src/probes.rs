//! One file for each hook family.

mod process;
mod socket;
pub mod stream;
mod syscall;
