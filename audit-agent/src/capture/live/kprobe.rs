//! The capture path at the kernel's transport functions where those have no trampolines: kprobes and kretprobes.
//!
//! In: loaded programs, the kernel's BTF. Out: attached programs, or which function or right this kernel lacks. Never: a
//! part of it: either all functions that this kernel has are attached, or none stays so.

use super::LoadError;
use super::returns::Returns;
use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{KProbe, ProgramError};
use std::collections::BTreeSet;

const MAP: &str = "KRETPROBE_STEPS";
const STEPS: &str = "steps_kretprobe";

/// A function, the program at its begin and the one at its end.
type Hook = (&'static str, Option<&'static str>, &'static str);

/// What every kernel has; [`receive`] and [`PAGES`] complete it.
const HOOKS: &[Hook] = &[
    ("tcp_sendmsg", Some("kprobe_sendmsg"), "kretprobe_tcp_sent"),
    (
        "unix_stream_sendmsg",
        Some("kprobe_sendmsg"),
        "kretprobe_unix_sent",
    ),
    (
        "unix_stream_recvmsg",
        Some("kprobe_recvmsg"),
        "kretprobe_unix_received",
    ),
    ("tcp_splice_read", Some("kprobe_splice_read"), "kretprobe_spliced"),
    (
        "unix_stream_splice_read",
        Some("kprobe_splice_read"),
        "kretprobe_spliced",
    ),
    ("__sys_listen", None, "kretprobe_listen"),
    ("vm_mmap_pgoff", Some("kprobe_mmap"), "kretprobe_mmap"),
];

/// What kernels before 6.5 have.
const PAGES: &[Hook] = &[
    ("tcp_sendpage", Some("kprobe_sendpage"), "kretprobe_tcp_sent"),
    (
        "unix_stream_sendpage",
        Some("kprobe_sendpage"),
        "kretprobe_unix_sent",
    ),
];

/// `tcp_recvmsg` with so many parameters, which changed with Linux 5.19.
fn receive(parameters: u32) -> Result<Hook, LoadError> {
    let enter = match parameters {
        4 | 5 => "kprobe_recvmsg",
        6 => "kprobe_recvmsg_nonblock",
        _ => {
            return Err(LoadError::Prototype {
                function: "tcp_recvmsg",
                parameters,
            });
        }
    };
    Ok(("tcp_recvmsg", Some(enter), "kretprobe_tcp_received"))
}

/// What has to live as long as the programs shall run: the map of the program that others go over to, and the probes.
type Attached = (ProgramArray<MapData>, Returns);

/// Loads and attaches all. `recvmsg_parameters` is how many `tcp_recvmsg` has, `has_pages` whether `tcp_sendpage` is there.
pub fn attach(programs: &mut Ebpf, recvmsg_parameters: u32, has_pages: bool) -> Result<Attached, LoadError> {
    let mut hooks = vec![receive(recvmsg_parameters)?];
    hooks.extend(HOOKS);
    if has_pages {
        hooks.extend(PAGES);
    }
    let steps = load(programs, &hooks)?;
    let mut returns = Returns::new();
    // Ends first: a call whose begin was not seen says nothing at its end.
    for (function, _, leave) in &hooks {
        let program = kprobe(programs, leave)?;
        let fd = program.fd().map_err(refused(leave))?;
        let attached = returns.attach(function, fd);
        attached.map_err(|error| refused(leave)(ProgramError::IOError(error)))?;
    }
    for (function, enter, _) in &hooks {
        if let Some(enter) = enter {
            let attached = kprobe(programs, enter)?.attach(function, 0);
            attached.map(drop).map_err(refused(enter))?;
        }
    }
    Ok((steps, returns))
}

/// Loads every program once, whatever number of functions it serves.
fn load(programs: &mut Ebpf, hooks: &[Hook]) -> Result<ProgramArray<MapData>, LoadError> {
    let names = hooks.iter().flat_map(|(_, enter, leave)| [*enter, Some(*leave)]);
    let names: BTreeSet<&'static str> = names.flatten().chain([STEPS]).collect();
    for name in names {
        kprobe(programs, name)?.load().map_err(refused(name))?;
    }
    let mut map = super::map(programs, MAP, ProgramArray::try_from)?;
    let fd = kprobe(programs, STEPS)?.fd().map_err(refused(STEPS))?;
    map.set(0, fd, 0)
        .map_err(|source| LoadError::Map { name: MAP, source })?;
    Ok(map)
}

fn refused(name: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Attach { name, source }
}

fn kprobe<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut KProbe, LoadError> {
    let program = programs
        .program_mut(name)
        .and_then(|program| program.try_into().ok());
    program.ok_or(LoadError::Missing(name))
}
