//! Prompts and completions, kept apart from the log, encrypted to people who are not on this host.

pub mod age;
