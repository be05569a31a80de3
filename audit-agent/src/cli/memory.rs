//! What the allocator does with memory that was freed.
//!
//! In: nothing. Out: a setting of this process. Never: another allocator; one that is not the GNU C library's stays as it is.

/// Freed memory at the end of the heap that stays with the process.
#[cfg(target_env = "gnu")]
const KEPT_FREE_BYTES: i32 = 4 << 20;
/// Blocks of this size go back to the kernel as soon as they are freed; what is kept of a body is no larger ([`crate::limits::BODY_BYTES`]).
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: i32 = 4 << 20;

/// Lets the allocator keep some of what a large body took for the next one. By itself it gives each back and faults it in again,
/// which made a body of 256 KiB cost half as much again. Call this before any thread is made.
pub fn keep_freed() {
    #[cfg(target_env = "gnu")]
    for (option, bytes) in [
        (libc::M_TRIM_THRESHOLD, KEPT_FREE_BYTES),
        (libc::M_MMAP_THRESHOLD, OWN_MAPPING_BYTES),
    ] {
        // SAFETY: mallopt(3) takes any size for these options and reads no memory of ours; one that it refuses leaves the default.
        unsafe { libc::mallopt(option, bytes) };
    }
}
