//! Probes in TLS libraries: attached once for each file, released with its last user.
//!
//! In: libraries that processes have, processes that ended. Out: attached programs. Never: a probe in a file that no
//! watched process runs any more.

use super::{Kernel, LoadError};
use crate::host::tls::{FileId, Function, Library};
use crate::privilege::{self, capabilities};
use aya::Ebpf;
use aya::maps::{MapData, ProgramArray};
use aya::programs::uprobe::{UProbeAttachLocation, UProbeLinkId, UProbeScope};
use aya::programs::{ProgramError, UProbe};
use std::collections::{HashMap, HashSet};

/// The programs for each function, in the order in which they are attached.
fn programs_of(function: Function) -> &'static [&'static str] {
    match function {
        Function::Read => &["tls_enter", "tls_read_return"],
        Function::Write => &["tls_enter", "tls_write_return"],
        Function::ReadEx => &["tls_enter_ex", "tls_read_return"],
        Function::WriteEx => &["tls_enter_ex", "tls_write_return"],
        Function::WriteEx2 => &["tls_enter_ex2", "tls_write_return"],
        Function::New => &["tls_new_return"],
        Function::Init => &["tls_init_enter", "tls_init_return"],
        Function::Free => &["tls_free"],
        Function::GoCall => &["go_enter"],
        Function::GoReadReturn => &["go_read_return"],
        Function::GoWriteReturn => &["go_write_return"],
        Function::GoHandshake => &["go_handshake"],
        Function::GoClose => &["go_close"],
    }
}

/// Every uprobe program.
pub const PROGRAMS: [&str; 14] = [
    "tls_enter",
    "tls_enter_ex",
    "tls_enter_ex2",
    "tls_read_return",
    "tls_write_return",
    "tls_new_return",
    "tls_init_enter",
    "tls_init_return",
    "tls_free",
    "go_enter",
    "go_read_return",
    "go_write_return",
    "go_handshake",
    "go_close",
];

/// One file's probes and who runs it.
#[derive(Debug, Default)]
struct Attached {
    links: Vec<(&'static str, UProbeLinkId)>,
    pids: HashSet<u32>,
}

/// Every file that is probed.
#[derive(Debug, Default)]
pub struct Probes {
    files: HashMap<FileId, Attached>,
}

/// Loads the programs; they are attached when a library is found.
pub fn load(programs: &mut Ebpf, steps: &mut ProgramArray<MapData>) -> Result<(), LoadError> {
    for name in PROGRAMS {
        uprobe(programs, name)?
            .load()
            .map_err(|source| LoadError::Attach { name, source })?;
    }
    let name = "tls_steps";
    let program = uprobe(programs, name)?;
    program
        .load()
        .map_err(|source| LoadError::Attach { name, source })?;
    let fd = program
        .fd()
        .map_err(|source| LoadError::Attach { name, source })?;
    steps.set(0, fd, 0).map_err(|source| LoadError::Map {
        name: "TLS_STEPS",
        source,
    })
}

fn is_refused(error: &ProgramError) -> bool {
    let ProgramError::SyscallError(call) = error else {
        return false;
    };
    call.io_error.kind() == std::io::ErrorKind::PermissionDenied
}

/// What a refusal says when a right is missing that others have.
fn refusal(name: &'static str, source: ProgramError) -> LoadError {
    if is_refused(&source) && privilege::PROBES.without(capabilities::permitted()) == privilege::PROBES {
        return LoadError::Probe;
    }
    LoadError::Attach { name, source }
}

fn uprobe<'a>(programs: &'a mut Ebpf, name: &'static str) -> Result<&'a mut UProbe, LoadError> {
    programs
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(LoadError::Missing(name))
}

impl Kernel {
    /// Sees into a library for `pid`, which must be watched before. An error leaves nothing attached.
    pub fn see_into(&mut self, library: &Library, pid: u32) -> Result<(), LoadError> {
        if let Some(attached) = self.probes.files.get_mut(&library.id) {
            attached.pids.insert(pid);
            return Ok(());
        }
        let mut attached = Attached::default();
        attached.pids.insert(pid);
        for site in &library.found.sites {
            for name in programs_of(site.function) {
                let program = uprobe(&mut self.programs, name)?;
                let location = UProbeAttachLocation::AbsoluteOffset(site.offset);
                let placed =
                    privilege::probing(|| program.attach(location, &library.open, UProbeScope::AllProcesses));
                match placed {
                    Ok(link) => attached.links.push((name, link)),
                    Err(source) => {
                        self.release(attached);
                        return Err(refusal(name, source));
                    }
                }
            }
        }
        self.probes.files.insert(library.id, attached);
        Ok(())
    }

    /// Whether this kernel places no probe without [`privilege::PROBES`]. Tries one at the beginning of this program's file, which
    /// is never executed.
    pub fn probes_take_more(&mut self) -> bool {
        let effective = capabilities::effective();
        if capabilities::set_effective(effective.without(privilege::PROBES)).is_err() {
            return true;
        }
        let tried = uprobe(&mut self.programs, "tls_free").map(|program| {
            let place = UProbeAttachLocation::AbsoluteOffset(0);
            let link = program.attach(place, "/proc/self/exe", UProbeScope::AllProcesses)?;
            program.detach(link)
        });
        let _ = capabilities::set_effective(effective);
        tried.is_ok_and(|placed| placed.is_err_and(|error| is_refused(&error)))
    }

    /// Processes that do not run any more; files that nobody else runs lose their probes.
    pub fn forget_processes(&mut self, lives: impl Fn(u32) -> bool) {
        for attached in self.probes.files.values_mut() {
            attached.pids.retain(|pid| lives(*pid));
        }
        let unused: Vec<FileId> = self
            .probes
            .files
            .iter()
            .filter(|(_, attached)| attached.pids.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in unused {
            if let Some(attached) = self.probes.files.remove(&id) {
                self.release(attached);
            }
        }
    }

    /// How many files are probed.
    pub fn probed_files(&self) -> usize {
        self.probes.files.len()
    }

    fn release(&mut self, attached: Attached) {
        for (name, link) in attached.links {
            let detached: Result<(), ProgramError> = match uprobe(&mut self.programs, name) {
                Ok(program) => program.detach(link),
                Err(_) => continue,
            };
            if let Err(error) = detached {
                tracing::warn!(%error, name, "a probe could not be released");
            }
        }
    }
}
