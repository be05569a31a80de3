//! The capture path at the end of system calls, which every kernel has.
//!
//! In: loaded programs. Out: attached ones. Never: a program at another system call than it is for.

use super::{LoadError, attach_raw, map};
use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{RawTracePoint, TracePoint};

/// The programs that `sys_exit` goes over to, in the order of their places in the map.
const SYSCALL_STEPS: [&str; 3] = ["stream_steps", "message_lengths", "message_bytes"];

/// Loads the programs that copy buffers and makes them the targets of the tail calls.
fn link_steps(programs: &mut Ebpf, steps: &mut ProgramArray<MapData>) -> Result<(), LoadError> {
    for (index, name) in (0..).zip(SYSCALL_STEPS) {
        let program: &mut RawTracePoint = programs
            .program_mut(name)
            .and_then(|p| p.try_into().ok())
            .ok_or(LoadError::Missing(name))?;
        let refused = |source| LoadError::Attach { name, source };
        program.load().map_err(refused)?;
        let fd = program.fd().map_err(refused)?;
        steps.set(index, fd, 0).map_err(|source| LoadError::Map {
            name: "STEPS",
            source,
        })?;
    }
    Ok(())
}

/// Loads and attaches all; gives the map of the program that `sys_exit` goes over to.
pub fn attach(programs: &mut Ebpf) -> Result<ProgramArray<MapData>, LoadError> {
    let mut steps = map(programs, "STEPS", ProgramArray::try_from)?;
    link_steps(programs, &mut steps)?;
    attach_raw(programs, "sys_exit", "sys_exit")?;
    let name = "sys_exit_listen";
    let program: &mut TracePoint = programs
        .program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or(LoadError::Missing(name))?;
    let attached = program.load().and_then(|()| program.attach("syscalls", name));
    attached.map_err(|source| LoadError::Attach { name, source })?;
    Ok(steps)
}
