//! What may be recorded, and of whom. Pure.

pub mod filter;
pub mod mask;
pub mod pii;
