//! The transport functions by fentry and fexit.
//!
//! In: typed arguments and results of the kernel's functions, through trampolines. Out: calls of [`super::transport`]. Each function
//! has programs and a map of tail calls of its own, since their contexts differ.

use super::moved::process;
use super::process::mapped;
use super::socket::listens;
use super::transport::{PROT_EXEC, Work, enter, leave, walk};
use crate::maps::{
    TCP_RECVMSG_STEPS, TCP_SENDMSG_STEPS, TCP_SENDPAGE_STEPS, UNIX_RECVMSG_STEPS, UNIX_SENDMSG_STEPS,
    UNIX_SENDPAGE_STEPS,
};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{fentry, fexit};
use aya_ebpf::programs::{FEntryContext, FExitContext};

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`
#[fentry(function = "tcp_sendmsg")]
pub fn enter_tcp_sendmsg(ctx: FEntryContext) -> i32 {
    enter(Work::Message, ctx.arg(0), ctx.arg(1), 0, ctx.arg(2), 0);
    0
}

#[fexit(function = "tcp_sendmsg")]
pub fn leave_tcp_sendmsg(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(3);
    leave(&ctx, Some(&TCP_SENDMSG_STEPS), result.into(), true, false);
    0
}

#[fexit(function = "tcp_sendmsg")]
pub fn steps_tcp_sendmsg(ctx: FExitContext) -> i32 {
    walk(&ctx, &TCP_SENDMSG_STEPS);
    0
}

/// `int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)`, since Linux 5.19; later
/// kernels are without the last.
#[fentry(function = "tcp_recvmsg")]
pub fn enter_tcp_recvmsg(ctx: FEntryContext) -> i32 {
    let flags: i32 = ctx.arg(3);
    enter(Work::Message, ctx.arg(0), ctx.arg(1), 0, ctx.arg(2), flags as u64);
    0
}

#[fexit(function = "tcp_recvmsg")]
pub fn leave_tcp_recvmsg(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(5);
    leave(&ctx, Some(&TCP_RECVMSG_STEPS), result.into(), false, false);
    0
}

/// `int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags)`
#[fexit(function = "tcp_recvmsg")]
pub fn leave_tcp_recvmsg_short(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(4);
    leave(&ctx, Some(&TCP_RECVMSG_STEPS), result.into(), false, false);
    0
}

/// `int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int nonblock, int flags, int *addr_len)`
#[fentry(function = "tcp_recvmsg")]
pub fn enter_tcp_recvmsg_nonblock(ctx: FEntryContext) -> i32 {
    let flags: i32 = ctx.arg(4);
    enter(Work::Message, ctx.arg(0), ctx.arg(1), 0, ctx.arg(2), flags as u64);
    0
}

#[fexit(function = "tcp_recvmsg")]
pub fn leave_tcp_recvmsg_nonblock(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(6);
    leave(&ctx, Some(&TCP_RECVMSG_STEPS), result.into(), false, false);
    0
}

#[fexit(function = "tcp_recvmsg")]
pub fn steps_tcp_recvmsg(ctx: FExitContext) -> i32 {
    walk(&ctx, &TCP_RECVMSG_STEPS);
    0
}

/// `int unix_stream_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)`
#[fentry(function = "unix_stream_sendmsg")]
pub fn enter_unix_sendmsg(ctx: FEntryContext) -> i32 {
    enter(Work::Message, ctx.arg(0), ctx.arg(1), 0, ctx.arg(2), 0);
    0
}

#[fexit(function = "unix_stream_sendmsg")]
pub fn leave_unix_sendmsg(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(3);
    leave(&ctx, Some(&UNIX_SENDMSG_STEPS), result.into(), true, true);
    0
}

#[fexit(function = "unix_stream_sendmsg")]
pub fn steps_unix_sendmsg(ctx: FExitContext) -> i32 {
    walk(&ctx, &UNIX_SENDMSG_STEPS);
    0
}

/// `int unix_stream_recvmsg(struct socket *sock, struct msghdr *msg, size_t size, int flags)`
#[fentry(function = "unix_stream_recvmsg")]
pub fn enter_unix_recvmsg(ctx: FEntryContext) -> i32 {
    let flags: i32 = ctx.arg(3);
    enter(Work::Message, ctx.arg(0), ctx.arg(1), 0, ctx.arg(2), flags as u64);
    0
}

#[fexit(function = "unix_stream_recvmsg")]
pub fn leave_unix_recvmsg(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(4);
    leave(&ctx, Some(&UNIX_RECVMSG_STEPS), result.into(), false, true);
    0
}

#[fexit(function = "unix_stream_recvmsg")]
pub fn steps_unix_recvmsg(ctx: FExitContext) -> i32 {
    walk(&ctx, &UNIX_RECVMSG_STEPS);
    0
}

/// `int tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`, before Linux 6.5
#[fentry(function = "tcp_sendpage")]
pub fn enter_tcp_sendpage(ctx: FEntryContext) -> i32 {
    let offset: i32 = ctx.arg(2);
    enter(Work::Page, ctx.arg(0), ctx.arg(1), offset as u64, ctx.arg(3), 0);
    0
}

#[fexit(function = "tcp_sendpage")]
pub fn leave_tcp_sendpage(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(5);
    leave(&ctx, Some(&TCP_SENDPAGE_STEPS), result.into(), true, false);
    0
}

#[fexit(function = "tcp_sendpage")]
pub fn steps_tcp_sendpage(ctx: FExitContext) -> i32 {
    walk(&ctx, &TCP_SENDPAGE_STEPS);
    0
}

/// `ssize_t unix_stream_sendpage(struct socket *, struct page *page, int offset, size_t size, int flags)`, before Linux 6.5
#[fentry(function = "unix_stream_sendpage")]
pub fn enter_unix_sendpage(ctx: FEntryContext) -> i32 {
    let offset: i32 = ctx.arg(2);
    enter(Work::Page, ctx.arg(0), ctx.arg(1), offset as u64, ctx.arg(3), 0);
    0
}

#[fexit(function = "unix_stream_sendpage")]
pub fn leave_unix_sendpage(ctx: FExitContext) -> i32 {
    leave(&ctx, Some(&UNIX_SENDPAGE_STEPS), ctx.arg(5), true, true);
    0
}

#[fexit(function = "unix_stream_sendpage")]
pub fn steps_unix_sendpage(ctx: FExitContext) -> i32 {
    walk(&ctx, &UNIX_SENDPAGE_STEPS);
    0
}

/// `ssize_t tcp_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t len, unsigned int flags)`
#[fentry(function = "tcp_splice_read")]
pub fn enter_tcp_splice_read(ctx: FEntryContext) -> i32 {
    enter(Work::Pipe, ctx.arg(0), ctx.arg(2), 0, ctx.arg(3), 0);
    0
}

#[fexit(function = "tcp_splice_read")]
pub fn leave_tcp_splice_read(ctx: FExitContext) -> i32 {
    leave(&ctx, None, ctx.arg(5), false, true);
    0
}

/// `ssize_t unix_stream_splice_read(struct socket *sock, loff_t *ppos, struct pipe_inode_info *pipe, size_t size, unsigned int)`
#[fentry(function = "unix_stream_splice_read")]
pub fn enter_unix_splice_read(ctx: FEntryContext) -> i32 {
    enter(Work::Pipe, ctx.arg(0), ctx.arg(2), 0, ctx.arg(3), 0);
    0
}

#[fexit(function = "unix_stream_splice_read")]
pub fn leave_unix_splice_read(ctx: FExitContext) -> i32 {
    leave(&ctx, None, ctx.arg(5), false, true);
    0
}

/// `int __sys_listen(int fd, int backlog)`: unix sockets have no state tracepoint.
#[fexit(function = "__sys_listen")]
pub fn leave_listen(ctx: FExitContext) -> i32 {
    let result: i32 = ctx.arg(2);
    if result == 0 {
        listens((bpf_get_current_pid_tgid() >> 32) as u32);
    }
    0
}

/// `unsigned long vm_mmap_pgoff(struct file *file, unsigned long addr, unsigned long len, unsigned long prot, unsigned long
/// flag, unsigned long pgoff)`: a file that is mapped to be executed may be a TLS library.
#[fexit(function = "vm_mmap_pgoff")]
pub fn leave_vm_mmap_pgoff(ctx: FExitContext) -> i32 {
    let (file, protection): (u64, u64) = (ctx.arg(0), ctx.arg(3));
    if file != 0 && protection & PROT_EXEC != 0 && process() != 0 {
        mapped();
    }
    0
}
