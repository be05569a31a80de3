//! Whether this machine lets a test capture from its kernel.
//!
//! A test that cannot run says `skipped: <why>` and passes, unless [`REQUIRE`] is set: where the tests must
//! run, a machine that cannot run them is a failure.

use nix::unistd::Uid;
use std::path::Path;

/// Set to `1` where nothing may be skipped.
pub const REQUIRE: &str = "AUDIT_AGENT_REQUIRE_LIVE";

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TYPE_TRACEPOINT: u32 = 5;
/// `r0 = 0; exit`
const NOTHING: [u64; 2] = [0xb7, 0x95];

/// The head of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes the rest as zero.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// Loads a program that does nothing: the only honest way to know whether one may.
fn load_nothing() -> std::io::Result<()> {
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_TRACEPOINT,
        insn_cnt: NOTHING.len() as u32,
        insns: NOTHING.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the kernel reads `size_of::<ProgLoad>()` bytes of `attributes` and what its two pointers
    // name, all of which outlive the call, and writes nothing.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attributes,
            size_of::<ProgLoad>(),
        )
    };
    if fd < 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, valid and ours alone.
    unsafe { libc::close(fd as libc::c_int) };
    Ok(())
}

/// None when live capture can work here, else why not.
pub fn obstacle() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("not root".into());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel has no BTF".into());
    }
    load_nothing()
        .err()
        .map(|error| format!("the kernel refuses BPF programs: {error}"))
}

/// True when the test has to end here because this machine cannot capture.
///
/// # Panics
/// When [`REQUIRE`] says that it must be able to.
pub fn skip() -> bool {
    let Some(why) = obstacle() else { return false };
    skipped(&why);
    true
}

/// What a test needs besides; None when the test has to end here because this machine cannot have it.
///
/// # Panics
/// When [`REQUIRE`] says that it must.
pub fn prerequisite<T>(found: anyhow::Result<T>) -> Option<T> {
    found.map_err(|why| skipped(&format!("{why:#}"))).ok()
}

fn skipped(why: &str) {
    let required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
    assert!(!required, "{REQUIRE} is set, but this test cannot run: {why}");
    println!("skipped: {why}");
}
