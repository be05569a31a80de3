//! The `audit-agent` command.

fn main() {}
