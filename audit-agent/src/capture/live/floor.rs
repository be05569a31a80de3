//! The least that capture can cost, to compare with.
//!
//! In: the embedded object. Out: programs that do nothing, attached. Never: an event.

use super::{LoadError, OBJECT};
use aya::programs::TracePoint;
use aya::{Ebpf, EbpfLoader};

/// Empty programs at entry and exit of read and write: the least that capture by such a pair can cost.
pub fn attach_floor() -> Result<Ebpf, LoadError> {
    let name = "nothing";
    let mut programs = EbpfLoader::new()
        .btf(None)
        .map_max_entries("EVENTS", 4096)
        .load(OBJECT)?;
    let program: &mut TracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    program
        .load()
        .map_err(|source| LoadError::Attach { name, source })?;
    for tracepoint in [
        "sys_enter_read",
        "sys_exit_read",
        "sys_enter_write",
        "sys_exit_write",
    ] {
        let attached = program.attach("syscalls", tracepoint);
        attached.map_err(|source| LoadError::Attach { name, source })?;
    }
    Ok(programs)
}
