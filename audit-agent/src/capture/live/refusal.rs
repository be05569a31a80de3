//! Why capture cannot begin, and what to do about it.
//!
//! In: what the kernel refused. Out: a message with the right or the setting that is missing, as far as this process can tell.

use crate::capture::btf::BtfError;
use crate::privilege::{self, capabilities};
use aya::EbpfError;
use aya::maps::MapError;
use aya::programs::ProgramError;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use thiserror::Error;

/// The kernel's own types.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("this binary was built without the kernel programs; build it with `cargo xtask build`")]
    NoObject,
    #[error(
        "cannot read the kernel's type information {BTF_PATH}: {0}; a kernel with CONFIG_DEBUG_INFO_BTF=y is needed \
         (every distribution kernel since 5.10 has it), and the right to read it"
    )]
    NoBtf(#[source] std::io::Error),
    #[error("cannot use the kernel's type information: {0}; please report this kernel's version")]
    Btf(#[from] BtfError),
    #[error("the kernel refused the programs: {0}; {hint}", hint = hint())]
    Load(#[from] EbpfError),
    #[error("cannot attach to the tracepoint `{name}`: {source}; {hint}", hint = hint())]
    Attach {
        name: &'static str,
        source: ProgramError,
    },
    #[error(
        "this kernel's `{function}` has {parameters} parameters, which this version does not know; set \
         `capture.path = \"tracepoint\"`"
    )]
    Prototype { function: &'static str, parameters: u32 },
    #[error("cannot use the map `{name}`: {source}")]
    Map { name: &'static str, source: MapError },
    #[error("the embedded object has no `{0}`; build it again with `cargo xtask build`")]
    Missing(&'static str),
    #[error("this kernel lets nobody see into TLS libraries without CAP_SYS_ADMIN, and it is missing")]
    Probe,
}

/// What may be behind a refusal, as far as this process can tell.
fn hint() -> String {
    if let Err(missing) = privilege::require() {
        return missing.to_string();
    }
    let admin = privilege::PROBES.without(capabilities::effective()) == capabilities::Set::EMPTY;
    if let Some(level) = paranoid().filter(|level| *level > 2 && !admin) {
        return format!(
            "kernel.perf_event_paranoid is {level}, with which Debian and Ubuntu ask for CAP_SYS_ADMIN: give it too, or run \
             `sysctl kernel.perf_event_paranoid=2`"
        );
    }
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        // Linux before 5.11 counts maps there.
        Ok((limit, _)) if limit < RLIM_INFINITY => format!(
            "`audit-agent doctor` tells what this kernel has; Linux before 5.11 also needs `ulimit -l unlimited` \
             (LimitMEMLOCK=infinity), and it is {limit}"
        ),
        _ => "`audit-agent doctor` tells what this kernel has".into(),
    }
}

fn paranoid() -> Option<i32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok()?;
    text.trim().parse().ok()
}
