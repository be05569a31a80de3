//! The capture path at the kernel's transport functions: fentry and fexit.
//!
//! In: loaded programs, the kernel's BTF. Out: attached programs, or which function or right this kernel lacks. Never: a
//! part of it: either all functions that this kernel has are attached, or none stays so.

use super::LoadError;
use aya::maps::{MapData, ProgramArray};
use aya::programs::{FEntry, FExit, ProgramError};
use aya::{Btf, Ebpf};

/// A function and its programs.
struct Hook {
    function: &'static str,
    enter: Option<&'static str>,
    leave: Option<&'static str>,
    /// The program that `leave` goes over to, and the map that says so.
    steps: Option<(&'static str, &'static str)>,
    /// Newer or older kernels do without it.
    optional: bool,
    /// The programs are for a function with so many parameters.
    parameters: Option<u32>,
}

impl Hook {
    const fn with_parameters(mut self, count: u32) -> Self {
        self.parameters = Some(count);
        self
    }

    fn fits(&self, recvmsg_parameters: u32) -> bool {
        self.parameters.is_none_or(|count| count == recvmsg_parameters)
    }
}

const fn moves(
    function: &'static str,
    programs: [&'static str; 3],
    map: &'static str,
    optional: bool,
) -> Hook {
    Hook {
        function,
        enter: Some(programs[0]),
        leave: Some(programs[1]),
        steps: Some((programs[2], map)),
        optional,
        parameters: None,
    }
}

const HOOKS: &[Hook] = &[
    moves(
        "tcp_sendmsg",
        ["enter_tcp_sendmsg", "leave_tcp_sendmsg", "steps_tcp_sendmsg"],
        "TCP_SENDMSG_STEPS",
        false,
    ),
    moves(
        "tcp_recvmsg",
        ["enter_tcp_recvmsg", "leave_tcp_recvmsg", "steps_tcp_recvmsg"],
        "TCP_RECVMSG_STEPS",
        false,
    )
    .with_parameters(5),
    moves(
        "tcp_recvmsg",
        [
            "enter_tcp_recvmsg",
            "leave_tcp_recvmsg_short",
            "steps_tcp_recvmsg",
        ],
        "TCP_RECVMSG_STEPS",
        false,
    )
    .with_parameters(4),
    moves(
        "tcp_recvmsg",
        [
            "enter_tcp_recvmsg_nonblock",
            "leave_tcp_recvmsg_nonblock",
            "steps_tcp_recvmsg",
        ],
        "TCP_RECVMSG_STEPS",
        false,
    )
    .with_parameters(6),
    moves(
        "unix_stream_sendmsg",
        ["enter_unix_sendmsg", "leave_unix_sendmsg", "steps_unix_sendmsg"],
        "UNIX_SENDMSG_STEPS",
        false,
    ),
    moves(
        "unix_stream_recvmsg",
        ["enter_unix_recvmsg", "leave_unix_recvmsg", "steps_unix_recvmsg"],
        "UNIX_RECVMSG_STEPS",
        false,
    ),
    moves(
        "tcp_sendpage",
        ["enter_tcp_sendpage", "leave_tcp_sendpage", "steps_tcp_sendpage"],
        "TCP_SENDPAGE_STEPS",
        true,
    ),
    moves(
        "unix_stream_sendpage",
        [
            "enter_unix_sendpage",
            "leave_unix_sendpage",
            "steps_unix_sendpage",
        ],
        "UNIX_SENDPAGE_STEPS",
        true,
    ),
    Hook {
        function: "tcp_splice_read",
        enter: Some("enter_tcp_splice_read"),
        leave: Some("leave_tcp_splice_read"),
        steps: None,
        optional: false,
        parameters: None,
    },
    Hook {
        function: "unix_stream_splice_read",
        enter: Some("enter_unix_splice_read"),
        leave: Some("leave_unix_splice_read"),
        steps: None,
        optional: false,
        parameters: None,
    },
    Hook {
        function: "__sys_listen",
        enter: None,
        leave: Some("leave_listen"),
        steps: None,
        optional: false,
        parameters: None,
    },
    Hook {
        function: "vm_mmap_pgoff",
        enter: None,
        leave: Some("leave_vm_mmap_pgoff"),
        steps: None,
        optional: false,
        parameters: None,
    },
];

/// Loads and attaches all; the maps that come back hold programs that others go over to. `recvmsg_parameters` is how many
/// `tcp_recvmsg` has, which changed with Linux 5.19.
pub fn attach(programs: &mut Ebpf, recvmsg_parameters: u32) -> Result<Vec<ProgramArray<MapData>>, LoadError> {
    let known = |hook: &Hook| hook.parameters == Some(recvmsg_parameters);
    if !HOOKS.iter().any(known) {
        return Err(LoadError::Prototype {
            function: "tcp_recvmsg",
            parameters: recvmsg_parameters,
        });
    }
    let btf = Btf::from_sys_fs().map_err(|error| LoadError::Load(error.into()))?;
    let mut steps = Vec::new();
    // All are loaded before the first is attached, so that a kernel which refuses one has none of them for a moment.
    let hooks = || HOOKS.iter().filter(|hook| hook.fits(recvmsg_parameters));
    for hook in hooks() {
        match load(programs, hook, &btf, &mut steps) {
            Err(LoadError::Attach {
                source: ProgramError::Btf(_),
                ..
            }) if hook.optional => {}
            result => result?,
        }
    }
    for hook in hooks() {
        attach_hook(programs, hook)?;
    }
    Ok(steps)
}

fn load(
    programs: &mut Ebpf,
    hook: &Hook,
    btf: &Btf,
    steps: &mut Vec<ProgramArray<MapData>>,
) -> Result<(), LoadError> {
    let refused = |name| move |source| LoadError::Attach { name, source };
    if let Some(name) = hook.enter {
        fentry(programs, name)?
            .load(hook.function, btf)
            .map_err(refused(name))?;
    }
    if let Some(name) = hook.leave {
        fexit(programs, name)?
            .load(hook.function, btf)
            .map_err(refused(name))?;
    }
    if let Some((name, map_name)) = hook.steps {
        let program = fexit(programs, name)?;
        program.load(hook.function, btf).map_err(refused(name))?;
        let fd = program.fd().map_err(refused(name))?.try_clone();
        let fd = fd.map_err(|error| refused(name)(ProgramError::IOError(error)))?;
        let mut map = super::map(programs, map_name, ProgramArray::try_from)?;
        map.set(0, &fd, 0).map_err(|source| LoadError::Map {
            name: map_name,
            source,
        })?;
        steps.push(map);
    }
    Ok(())
}

fn attach_hook(programs: &mut Ebpf, hook: &Hook) -> Result<(), LoadError> {
    let loaded = |result: Result<(), ProgramError>| match result {
        Err(ProgramError::NotLoaded) if hook.optional => Ok(()),
        result => result,
    };
    if let Some(name) = hook.leave {
        loaded(fexit(programs, name)?.attach().map(drop))
            .map_err(|source| LoadError::Attach { name, source })?;
    }
    if let Some(name) = hook.enter {
        loaded(fentry(programs, name)?.attach().map(drop))
            .map_err(|source| LoadError::Attach { name, source })?;
    }
    Ok(())
}

fn fentry<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut FEntry, LoadError> {
    let program = programs
        .program_mut(name)
        .and_then(|program| program.try_into().ok());
    program.ok_or(LoadError::Missing(name))
}

fn fexit<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut FExit, LoadError> {
    let program = programs
        .program_mut(name)
        .and_then(|program| program.try_into().ok());
    program.ok_or(LoadError::Missing(name))
}
