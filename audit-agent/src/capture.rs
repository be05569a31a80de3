//! Where inputs come from: the running kernel, or a capture file.

pub mod btf;
pub mod file;
#[cfg(feature = "live")]
pub mod live;
