//! What pieces of one direction are.
//!
//! In and out: nothing; names for what [`super::Direction`] gives. Never: behaviour.

/// What a piece of the direction was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step<'a> {
    /// A whole field block.
    Fields {
        stream: u32,
        block: &'a [u8],
        end: bool,
    },
    /// A field block of a stream that can't be read, or of an unknown one (0), and why. What the sender put into its table
    /// there is missed.
    Unreadable {
        stream: u32,
        end: bool,
        why: Unreadable,
    },
    /// The field block of a promised request. It counts for the table and for nothing else.
    Promise {
        block: &'a [u8],
    },
    Data {
        stream: u32,
        bytes: &'a [u8],
    },
    /// Bytes of frames of a stream that are no data: heads, padding, fields.
    Framing {
        stream: u32,
        len: u64,
    },
    /// Bytes of a stream's data that are missing.
    Missed {
        stream: u32,
        len: u64,
    },
    /// The stream's sender is done.
    End {
        stream: u32,
    },
    Reset {
        stream: u32,
    },
    /// Streams above `last` are not answered.
    Goaway {
        last: u32,
    },
    /// The place is lost: frames of any stream may be among the missing bytes, which are reported apart.
    Lost,
    /// No sender of HTTP/2 sends this.
    Broken(&'static str),
    /// Bytes that belong to no frame.
    Skipped {
        seen: u64,
        missed: u64,
    },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unreadable {
    Gap,
    OverCap,
    Malformed,
}
