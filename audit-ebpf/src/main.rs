//! The kernel programs of audit-agent: attach, filter, copy, count. No protocol knowledge.
//!
//! In: tracepoints of system calls, sockets and processes. Out: events of [`audit_common::abi`] in one ring
//! buffer, loss counters per CPU. Never: anything that a watched process could notice but a little time.

#![no_std]
#![no_main]
// For the one addition in `emit` that Rust has no name for on this target.
#![feature(asm_experimental_arch)]

mod emit;
mod kernel;
mod maps;
mod probes;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // The verifier refuses programs from which this could be reached: it would loop for ever.
    loop {}
}

/// Tracepoint programs with helpers that read kernel memory must be under a GPL-compatible licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
