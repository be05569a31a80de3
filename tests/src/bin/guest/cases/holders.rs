//! Who holds a connection, and how it ends.

use super::{Case, LARGE_ANSWER, PLAIN, STREAMED};
use crate::client::Manner;
use crate::exchange::Exchange;
use crate::holder::Holder;

const SOME: &[Exchange] = &[PLAIN, STREAMED, PLAIN];
const MANY: &[Exchange] = &[PLAIN, STREAMED, LARGE_ANSWER, PLAIN, STREAMED, PLAIN];

pub const CASES: &[Case] = &[
    Case::of("dup", "socket", SOME).held_by(Holder::Duplicates),
    Case::of("fork_after_accept", "socket", SOME).held_by(Holder::Child),
    Case::of("scm_rights", "socket", SOME).held_by(Holder::Stranger),
    Case::of("two_threads", "socket", SOME).held_by(Holder::TwoThreads),
    Case::of("first_thread_over", "socket", SOME).held_by(Holder::Headless),
    Case::of("first_thread_over_early", "socket", SOME)
        .held_by(Holder::Headless)
        .early(),
    Case::of("reuse_port", "socket", MANY)
        .held_by(Holder::TwoProcesses)
        .asked(Manner::Closing),
    Case::of("fd_used_again", "socket", MANY)
        .held_by(Holder::Loop)
        .asked(Manner::Closing),
    Case::of("closed_at_once", "file", MANY).asked(Manner::Closing),
    Case::of("half_closed", "socket", SOME).asked(Manner::HalfClosing),
];
