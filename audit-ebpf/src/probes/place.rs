//! Scratch space for programs that another program may preempt on the same CPU.
//!
//! Out: a place that is one thread's until it is released.

use super::stream::Scratch;
use crate::maps::{PLACE_COUNT, PLACES, PLACES_BUSY};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;

/// A place that no other thread uses, and its number.
#[inline(always)]
pub fn claim() -> Option<(u32, &'static mut Scratch)> {
    const TRIES: u32 = 4;
    let first = bpf_get_current_pid_tgid() as u32;
    for attempt in 0..TRIES {
        let place = (first + attempt) % PLACE_COUNT;
        if PLACES_BUSY.insert(place, 1, u64::from(BPF_NOEXIST)).is_ok() {
            return Some((place, at(place)?));
        }
    }
    None
}

/// The scratch of a place that this thread has claimed.
#[inline(always)]
pub fn at(place: u32) -> Option<&'static mut Scratch> {
    // SAFETY: the place is this thread's until it is released, and map values stay readable.
    PLACES.get_ptr_mut(place).map(|scratch| unsafe { &mut *scratch })
}

#[inline(always)]
pub fn release(place: u32) {
    let _ = PLACES_BUSY.remove(place);
}
