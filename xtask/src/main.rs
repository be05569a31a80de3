//! Commands that build, run and test audit-agent.

fn main() {}
