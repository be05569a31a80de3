//! The ways in which a server's calls move bytes.

use super::{Case, LARGE_ANSWER, PLAIN, STREAMED};
use crate::exchange::Exchange;

/// Body of the largest request: 4 MiB with everything around it.
const LARGE: usize = 4 * 1024 * 1024 - 1024;
const LARGE_REQUEST: Exchange = Exchange {
    prompt_bytes: LARGE,
    tokens: 5,
    ..PLAIN
};
/// More than one event holds, in one call.
const TWO_EVENTS: Exchange = Exchange {
    prompt_bytes: 23 * 1024,
    tokens: 2000,
    last_call: 23 * 1024,
    ..PLAIN
};

/// Sizes around each power of two up to 2^20.
const SIZES: [Exchange; 60] = sizes();

const fn sizes() -> [Exchange; 60] {
    let mut sizes = [PLAIN; 60];
    let mut index = 0;
    while index < sizes.len() {
        let size = (2 << (index / 3)) - 1 + index % 3;
        sizes[index] = Exchange {
            stream: false,
            prompt_bytes: size,
            // A word has eleven bytes at least.
            tokens: size / 11 + 4,
            last_call: size,
        };
        index += 1;
    }
    sizes
}

const BOTH: &[Exchange] = &[PLAIN, STREAMED];
const AND_LARGE: &[Exchange] = &[PLAIN, STREAMED, LARGE_ANSWER];
/// Answers of which no two are alike: one that is taken for another's is found out.
const UNLIKE: &[Exchange] = &[answer(12), answer(13), answer(14), answer(15), answer(16)];

const fn answer(tokens: usize) -> Exchange {
    Exchange { tokens, ..PLAIN }
}

const LARGE_TOO: &[Exchange] = &[PLAIN, LARGE_REQUEST, LARGE_ANSWER, PLAIN];

pub const CASES: &[Case] = &[
    Case::of("plain", "socket", &[PLAIN]),
    Case::of("streamed", "socket", &[STREAMED]),
    Case::of("read_write", "file", BOTH).early(),
    Case::of(
        "keep_alive",
        "socket",
        &[PLAIN, STREAMED, PLAIN, LARGE_ANSWER, PLAIN],
    ),
    Case::of("large_request", "socket", &[LARGE_REQUEST]).early(),
    Case::of("sizes", "socket", &SIZES),
    Case::of("two_events_in_a_call", "socket", &[TWO_EVENTS]),
    Case::of("readv_writev", "vector", AND_LARGE),
    Case::of("readv_writev_200", "vectors_200", AND_LARGE),
    Case::of("readv_writev_1024", "vectors_1024", AND_LARGE),
    Case::of("recvmsg_sendmsg", "message", AND_LARGE),
    Case::of("recvmsg_sendmsg_200", "message_200", AND_LARGE),
    Case::of("recvmsg_sendmsg_1024", "message_1024", AND_LARGE),
    Case::of("recvmmsg_sendmmsg", "messages_1", BOTH),
    Case::of("recvmmsg_sendmmsg_5", "messages_5", BOTH),
    Case::of("recvmmsg_sendmmsg_100", "messages_100", BOTH),
    Case::of("msg_peek", "peek", BOTH),
    Case::of("msg_trunc", "discard", BOTH),
    Case::of("msg_waitall", "wait_all", BOTH),
    Case::of("msg_dontwait", "dont_wait", LARGE_TOO),
    Case::of("msg_zerocopy", "zero_copy", BOTH),
    Case::of("partial_writes", "small_buffer", &[PLAIN, LARGE_ANSWER, STREAMED]),
    Case::of("interrupted", "interrupted", LARGE_TOO),
    Case::of("restarted", "restarted", LARGE_TOO),
    Case::of("sendfile", "sendfile", BOTH),
    Case::of("splice_from_pipe", "splice_out", BOTH),
    Case::of("vmsplice", "vmsplice", BOTH),
    Case::of("splice_to_pipe", "splice_in", BOTH),
    Case::of("io_uring", "uring", AND_LARGE),
    Case::of("io_uring_vectors", "uring_vectors", BOTH),
    Case::of("io_uring_messages", "uring_messages", BOTH),
    Case::of("io_uring_buffers", "uring_buffers", BOTH),
    Case::of("io_uring_at_times", "uring_at_times", UNLIKE),
];
