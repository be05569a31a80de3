//! Processes: who was forked, what was executed, who ended.

use super::socket::watch_process;
use crate::emit::{Wake, header, reserve, send, wake_up};
use crate::kernel::{current_task, read};
use crate::maps::{CALLS, FILENAME_MAX, PROCESS, PROCESSES, ProcessScratch, TLS_THREADS, offsets};
use audit_common::abi::{ARGV_MAX, EventKind, PROCESS_LEN, ProcessEvent};
use audit_common::config::PROCESS_SERVES;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_uid_gid};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn sched_process_fork(ctx: RawTracePointContext) -> i32 {
    let at = offsets();
    let (parent, child): (u64, u64) = (ctx.arg(0), ctx.arg(1));
    let parent_pid: u32 = read(parent, at.task_tgid);
    let child_pid: u32 = read(child, at.task_tgid);
    // A thread has its parent's thread group. A child inherits its parent's sockets.
    // SAFETY: only the presence is looked at.
    if child_pid != parent_pid
        && let Some(flags) = unsafe { PROCESSES.get(parent_pid) }
    {
        watch_process(child_pid, *flags);
        emit(EventKind::Fork, child, parent_pid);
    }
    0
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    let binprm: u64 = ctx.arg(2);
    let at = offsets();
    let pid: u32 = read(task, at.task_tgid);
    if let Some(flags) = PROCESSES.get_ptr_mut(pid) {
        // Sockets may be inherited, but this program has not shown to be a server.
        // SAFETY: map values stay readable while the program runs; a flag that another CPU sets meanwhile may be lost.
        unsafe { *flags &= !PROCESS_SERVES };
    }
    let Some(scratch) = PROCESS.get_ptr_mut(0) else {
        return 0;
    };
    let filename_len = filename(scratch, read(binprm, at.bprm_filename));
    let argv_len = argv(scratch, filename_len, read(task, at.task_mm));
    let parent: u64 = read(task, at.task_real_parent);
    executed(scratch, task, read(parent, at.task_tgid), filename_len, argv_len);
    0
}

/// `sched_process_exit(struct task_struct *p)`; newer kernels add an argument.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(_ctx: RawTracePointContext) -> i32 {
    let at = offsets();
    let task = current_task();
    let pid: u32 = read(task, at.task_tgid);
    let tid: u32 = read(task, at.task_pid);
    let _ = TLS_THREADS.remove(tid);
    let _ = CALLS.remove(tid);
    // A process may outlive the thread that it began with.
    let live: u32 = read(read(task, at.task_signal), at.signal_live);
    if live == 0 {
        let _ = PROCESSES.remove(pid);
        emit(EventKind::Exit, task, 0);
    }
    0
}

/// Copies the file name to the front of the payload; gives its length without the NUL.
#[inline(always)]
fn filename(scratch: *mut ProcessScratch, name: u64) -> u64 {
    // SAFETY: the payload is longer than `FILENAME_MAX`; the helper writes no more and checks the source.
    let len = unsafe {
        let to = (&raw mut (*scratch).payload).cast::<c_void>();
        bpf_probe_read_kernel_str(to, FILENAME_MAX as u32, name as *const c_void)
    };
    if len <= 0 || len > FILENAME_MAX as i64 {
        0
    } else {
        (len - 1) as u64
    }
}

/// Copies `mm->arg_start .. arg_end` behind the file name; gives its length.
#[inline(always)]
fn argv(scratch: *mut ProcessScratch, behind: u64, mm: u64) -> u64 {
    let at = offsets();
    let start: u64 = read(mm, at.mm_arg_start);
    let end: u64 = read(mm, at.mm_arg_end);
    let len = end.saturating_sub(start).min(ARGV_MAX as u64);
    if behind > FILENAME_MAX as u64 || len == 0 || len > ARGV_MAX as u64 {
        return 0;
    }
    // SAFETY: `behind` and `len` were just bounded so that the destination lies within the payload.
    let to = unsafe { (&raw mut (*scratch).payload).cast::<u8>().add(behind as usize) };
    // SAFETY: the destination has room for `len` bytes; the helper checks the source.
    let status = unsafe { bpf_probe_read_user(to.cast(), len as u32, start as *const c_void) };
    if status == 0 { len } else { 0 }
}

/// The current process mapped an executable file.
#[inline(always)]
pub fn mapped() {
    emit(EventKind::Mapped, current_task(), 0);
}

/// Sends an exec: the event with the file name and argv that lie behind it.
#[inline(always)]
fn executed(scratch: *mut ProcessScratch, task: u64, parent_pid: u32, filename_len: u64, argv_len: u64) {
    let filename_len = filename_len.min(FILENAME_MAX as u64);
    let argv_len = argv_len.min(ARGV_MAX as u64);
    let len = PROCESS_LEN as u64 + filename_len + argv_len;
    // SAFETY: this CPU's own scratch, of which no program but this one makes use: the kernel does not run it twice at a time on
    // a CPU.
    let event = unsafe { &mut (*scratch).event };
    describe(event, EventKind::Exec, task, parent_pid);
    event.header.len = len as u32;
    event.filename_len = filename_len as u16;
    event.argv_len = argv_len as u16;
    // SAFETY: both lengths were just bounded to the payload.
    unsafe { send(scratch.cast(), len, 0, Wake::Batched) };
}

#[inline(always)]
fn emit(kind: EventKind, task: u64, parent_pid: u32) {
    let Some(mut event) = reserve::<ProcessEvent>() else {
        return;
    };
    // SAFETY: every member is written, and all of them are integers.
    describe(unsafe { &mut *event.as_mut_ptr() }, kind, task, parent_pid);
    // A library is searched for probes: the sooner, the less is missed.
    let wake = if matches!(kind, EventKind::Mapped) {
        Wake::Now
    } else {
        Wake::Batched
    };
    event.submit(wake_up(wake));
}

#[inline(always)]
fn describe(event: &mut ProcessEvent, kind: EventKind, task: u64, parent_pid: u32) {
    let at = offsets();
    event.header = header(kind, 0, PROCESS_LEN);
    event.pid = read(task, at.task_tgid);
    event.parent_pid = parent_pid;
    event.start_ns = read(task, at.task_start_boottime);
    event.uid = bpf_get_current_uid_gid() as u32;
    event.filename_len = 0;
    event.argv_len = 0;
    event.comm = bpf_get_current_comm().unwrap_or([0; 16]);
}
