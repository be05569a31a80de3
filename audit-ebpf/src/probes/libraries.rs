//! Probes at functions of C libraries: OpenSSL, BoringSSL, GnuTLS.
//!
//! In: arguments and results by the C calling convention. Out: calls of [`super::tls`]. Which function is probed where is
//! userspace's business.

use super::tls::{begin, begin_where_told, end, enter, leave};
use crate::kernel::{call_argument, call_result};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

/// `SSL_read(ssl, buf, num)`, `SSL_write(ssl, buf, num)`, `gnutls_record_recv(session, data, size)`, ...
#[uprobe]
pub fn tls_enter(ctx: ProbeContext) -> u32 {
    enter(call_argument(&ctx, 0), call_argument(&ctx, 1), 0);
    0
}

/// `SSL_read_ex(ssl, buf, num, size_t *readbytes)` and `SSL_write_ex`
#[uprobe]
pub fn tls_enter_ex(ctx: ProbeContext) -> u32 {
    enter(
        call_argument(&ctx, 0),
        call_argument(&ctx, 1),
        call_argument(&ctx, 3),
    );
    0
}

/// `SSL_write_ex2(ssl, buf, num, uint64_t flags, size_t *written)` (OpenSSL 3.3)
#[uprobe]
pub fn tls_enter_ex2(ctx: ProbeContext) -> u32 {
    enter(
        call_argument(&ctx, 0),
        call_argument(&ctx, 1),
        call_argument(&ctx, 4),
    );
    0
}

#[uretprobe]
pub fn tls_read_return(ctx: RetProbeContext) -> u32 {
    leave(&ctx, false);
    0
}

#[uretprobe]
pub fn tls_write_return(ctx: RetProbeContext) -> u32 {
    leave(&ctx, true);
    0
}

/// `SSL *SSL_new(ctx)`: a session that is seen from its begin.
#[uretprobe]
pub fn tls_new_return(ctx: RetProbeContext) -> u32 {
    begin(call_result(&ctx));
    0
}

/// `gnutls_init(gnutls_session_t *session, flags)`
#[uprobe]
pub fn tls_init_enter(ctx: ProbeContext) -> u32 {
    enter(0, call_argument(&ctx, 0), 0);
    0
}

#[uretprobe]
pub fn tls_init_return(_ctx: RetProbeContext) -> u32 {
    begin_where_told();
    0
}

/// `SSL_free(ssl)`, `gnutls_deinit(session)`
#[uprobe]
pub fn tls_free(ctx: ProbeContext) -> u32 {
    end(call_argument(&ctx, 0));
    0
}
