//! Where inputs come from: the running kernel, or a capture file.

pub mod btf;
#[cfg(feature = "live")]
pub mod live;
