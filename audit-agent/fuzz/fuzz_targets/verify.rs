#![no_main]
//! Lines that nobody signed are never accepted, whatever they are.
use audit_agent::ledger::keys::LogKey;
use audit_agent::ledger::verify::LogCheck;

libfuzzer_sys::fuzz_target!(|line: &[u8]| {
    let mut check = LogCheck::new(LogKey::new("fuzz", &[7; 32]).verifier());
    assert!(!check.line(line));
});
