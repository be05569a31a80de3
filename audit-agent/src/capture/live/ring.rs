//! The kernel's events, read out of the shared ring buffer.
//!
//! In: the ring buffer's descriptor. Out: raw event bytes in order. Never: a copy of them, a system call for each, parsing. Once
//! it is mapped no right is needed to go on reading.

use aya::maps::{Map, MapData, MapError, RingBuf};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The reading end; there is one.
pub struct Events(RingBuf<MapData>);

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Maps the ring buffer. The kernel asks for CAP_BPF here, to tell how large it is.
    pub fn open(ring: OwnedFd) -> Result<Self, MapError> {
        RingBuf::try_from(Map::from_map_data(MapData::from_fd(ring)?)?).map(Self)
    }

    /// Becomes readable when the kernel side thinks that reading is worth it.
    pub fn readiness(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Hands up to `most` events to `each`, oldest first; gives how many there were.
    pub fn drain(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> usize {
        for count in 0..most {
            match self.0.next() {
                Some(event) => each(&event),
                None => return count,
            }
        }
        most
    }
}
