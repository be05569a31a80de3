//! Counters of what the kernel side could not deliver, one set per CPU.

/// Why something did not reach userspace. The value is the index in [`LossCounters`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossReason {
    /// No room in the ring buffer.
    RingFull = 0,
    /// User or kernel memory could not be read.
    ReadFault = 1,
    /// The connection map is full: a connection is not watched.
    ConnMapFull = 2,
    /// The process map is full: a process is not watched.
    ProcessMapFull = 3,
    /// One system call moved more than the event cap.
    CallTooLarge = 4,
    /// Bytes that never were in user memory (sendfile, splice).
    NotInUserMemory = 5,
    /// Bytes that could not be taken since there was no room to put them together, or no trace of the call's begin.
    ScratchBusy = 6,
    /// The end of a call was not watched, since too many were under way; counted by the kernel.
    ReturnMissed = 7,
    /// A program was due while it ran on the same processor; counted by the kernel.
    ProgramSkipped = 8,
}

pub const LOSS_REASONS: usize = 9;

/// Events and stream bytes lost, by [`LossReason`]; only ever grows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LossCounters {
    pub events: [u64; LOSS_REASONS],
    pub bytes: [u64; LOSS_REASONS],
}

/// Names of the reasons in records and in `doctor`, by index.
pub const LOSS_NAMES: [&str; LOSS_REASONS] = [
    "ring_full",
    "read_fault",
    "conn_map_full",
    "process_map_full",
    "call_too_large",
    "not_in_user_memory",
    "scratch_busy",
    "return_missed",
    "program_skipped",
];
