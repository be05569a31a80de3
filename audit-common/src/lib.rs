//! The binary contract between audit-agent's kernel programs and its userspace.
//!
//! In: nothing. Out: `repr(C)` event and map layouts, named caps, and (feature `user`) a checked
//! decoder from ring-buffer bytes to [`decode::Event`]. Never: allocation, `unsafe`, or knowledge of HTTP.
//!
//! Every struct is free of padding and made of little fields with a fixed size, so the bytes in a
//! capture file are the bytes that the kernel wrote. Event kinds are append-only.

#![no_std]
#![forbid(unsafe_code)]

pub mod abi;
pub mod config;
pub mod loss;

#[cfg(feature = "user")]
pub mod decode;
