//! Connections as two byte streams each, with everything that is missing in its place.
//!
//! In: data events with absolute offsets. Out: [`Piece`]s in stream order. Never: a byte twice, a byte in the
//! wrong place, or a missing range that is not a [`Piece::Gap`].

pub mod stream;

use audit_common::decode::Direction;

/// Why a range is missing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum GapCause {
    /// The event did not reach userspace: the ring buffer was full.
    Ring,
    /// User memory could not be read.
    Fault,
    /// One system call moved more than the kernel side follows.
    CallTooLarge,
    /// sendfile or splice.
    NotInUserMemory,
    /// The listener was under a head-only verdict.
    HeadOnly,
    /// The receiver threw it away unseen.
    Discarded,
    /// TCP moved it in a way that no program of ours sees.
    Unseen,
}

impl GapCause {
    /// Its name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring_full",
            Self::Fault => "read_fault",
            Self::CallTooLarge => "call_too_large",
            Self::NotInUserMemory => "not_in_user_memory",
            Self::HeadOnly => "head_only",
            Self::Discarded => "discarded_by_receiver",
            Self::Unseen => "unseen",
        }
    }
}

/// A step of one direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    Data(&'a [u8]),
    Gap(u64, GapCause),
    Eof,
}

/// Index of a direction in per-direction arrays.
pub fn index(direction: Direction) -> usize {
    match direction {
        Direction::Rx => 0,
        Direction::Tx => 1,
    }
}
