//! What can be seen of the servers that listen now.
//!
//! In: /proc. Out: a check for each process that looks like an inference server, for its TLS, and for every other listener
//! whose TLS cannot be seen into.

use super::{Check, Status, line};
use crate::event::TlsLibrary;
use crate::host::digest::Digests;
use crate::host::{models, sockets};
use std::fs;

/// Words in the command lines of inference servers; only a hint for this report.
const SERVER_NAMES: &[&str] = &[
    "llama",
    "ollama",
    "vllm",
    "triton",
    "text-generation",
    "sglang",
    "mistralrs",
    "litellm",
];

pub fn checks() -> Vec<Check> {
    let (mut digests, mut libraries) = (Digests::start(), libraries());
    let mut pids: Vec<u32> = sockets::listeners().pids.into_iter().collect();
    pids.sort_unstable();
    let mut checks: Vec<Check> = Vec::new();
    for pid in pids {
        let libraries = libraries(pid);
        let server = server(pid, &mut digests);
        let shown = |library: &&TlsLibrary| server.is_some() || library.problem.is_some();
        let tls = libraries.iter().filter(shown).map(|library| tls(pid, library));
        checks.extend(server.is_some().then(|| io_uring(pid)).flatten());
        checks.extend(tls);
        checks.extend(server);
    }
    if !checks.iter().any(|check| check.name == "server") {
        let detail = "no inference server is listening now; one is noticed when it starts";
        checks.push(Check::new("server", true, Status::Warn, detail, ""));
    }
    checks
}

/// Looks for the TLS libraries of a process; each file is read once.
#[cfg(feature = "live")]
fn libraries() -> impl FnMut(u32) -> Vec<TlsLibrary> {
    let mut scanner = crate::host::tls::Scanner::default();
    move |pid| {
        let libraries = scanner.libraries(pid);
        libraries.iter().map(|library| library.fact()).collect()
    }
}

#[cfg(not(feature = "live"))]
fn libraries() -> impl FnMut(u32) -> Vec<TlsLibrary> {
    |_| Vec::new()
}

fn name(pid: u32) -> String {
    let comm = line(&format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{}({pid})", comm.trim())
}

/// A process that seems to be an inference server.
fn server(pid: u32, digests: &mut Digests) -> Option<Check> {
    let weights = models::of_process(pid, digests);
    let argv = line(&format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let name = name(pid);
    let likely = SERVER_NAMES
        .iter()
        .any(|word| name.contains(word) || argv.contains(word));
    if weights.is_empty() && !likely {
        return None;
    }
    let model = weights
        .first()
        .map_or("no weights file open", |model| model.path.as_str());
    let detail = format!("{name} {model}");
    Some(Check::new("server", true, Status::Warn, detail, ""))
}

/// A TLS library of a process that listens.
fn tls(pid: u32, library: &TlsLibrary) -> Check {
    let version = library.version.as_deref().unwrap_or("of unknown version");
    let what = format!("{} {} {version} in {}", name(pid), library.library, library.path);
    match &library.problem {
        None => Check::new("tls", true, Status::Warn, what, ""),
        Some(problem) => Check::new(
            "tls",
            false,
            Status::Warn,
            format!("cannot see into {what}: {problem}"),
            "what it says over TLS is only counted and declared; put TLS in front of it, in nginx for example",
        ),
    }
}

fn io_uring(pid: u32) -> Option<Check> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten();
    let open = entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|path| path.as_os_str() == "anon_inode:[io_uring]");
    open.then(|| {
        Check::new(
            "io_uring",
            false,
            Status::Warn,
            format!("{} has io_uring open", name(pid)),
            "what moves through io_uring is not seen by the tracepoint path",
        )
    })
}
