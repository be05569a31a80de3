//! Linux capabilities of this thread (capabilities(7)).
//!
//! In: a set to keep. Out: permitted, effective, inheritable, ambient and bounding sets with no more than that. Never: more
//! than there was. Called while the process has one thread: capabilities belong to threads.

use super::{PrivilegeError, keep};
use std::io;

pub const DAC_OVERRIDE: u32 = 1;
pub const DAC_READ_SEARCH: u32 = 2;
pub const SETPCAP: u32 = 8;
pub const SYS_PTRACE: u32 = 19;
pub const SYS_ADMIN: u32 = 21;
pub const PERFMON: u32 = 38;
pub const BPF: u32 = 39;
pub const CHECKPOINT_RESTORE: u32 = 40;

const NAMES: [(u32, &str); 6] = [
    (BPF, "CAP_BPF"),
    (PERFMON, "CAP_PERFMON"),
    (SYS_PTRACE, "CAP_SYS_PTRACE"),
    (DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
    (CHECKPOINT_RESTORE, "CAP_CHECKPOINT_RESTORE"),
    (SYS_ADMIN, "CAP_SYS_ADMIN"),
];

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two words.
const VERSION: u32 = 0x2008_0522;
/// Neither uid 0 nor the ambient set gives capabilities any more.
const SECUREBITS: libc::c_ulong = (libc::SECBIT_NOROOT
    | libc::SECBIT_NOROOT_LOCKED
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE
    | libc::SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED) as libc::c_ulong;

/// A set of capabilities, bit by number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Set(pub u64);

impl Set {
    pub const EMPTY: Self = Self(0);

    pub const fn of(numbers: &[u32]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < numbers.len() {
            bits |= 1 << numbers[at];
            at += 1;
        }
        Self(bits)
    }

    pub const fn contains(self, number: u32) -> bool {
        self.0 >> number & 1 == 1
    }

    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What `self` has and `other` has not.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names of those that the agent knows, the number of any other.
    pub fn names(self) -> Vec<String> {
        let name = |number: u32| {
            NAMES
                .iter()
                .find(|(known, _)| *known == number)
                .map_or_else(|| number.to_string(), |(_, name)| (*name).to_owned())
        };
        (0..u64::BITS)
            .filter(|number| self.contains(*number))
            .map(name)
            .collect()
    }
}

/// `struct __user_cap_header_struct` and two of `struct __user_cap_data_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn get() -> io::Result<[Data; 2]> {
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: version 3 of the call reads one header and writes two data structures; both live through it.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) };
    if result == 0 {
        Ok(data)
    } else {
        Err(io::Error::last_os_error())
    }
}

fn put(data: [Data; 2]) -> io::Result<()> {
    let header = Header {
        version: VERSION,
        pid: 0,
    };
    // SAFETY: version 3 of the call reads one header and two data structures; both live through it.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn wide(low: u32, high: u32) -> Set {
    Set(u64::from(high) << 32 | u64::from(low))
}

/// What this thread may do now.
pub fn effective() -> Set {
    get().map_or(Set::EMPTY, |[low, high]| wide(low.effective, high.effective))
}

/// What this thread may make effective.
pub fn permitted() -> Set {
    get().map_or(Set::EMPTY, |[low, high]| wide(low.permitted, high.permitted))
}

/// Makes effective what is both wanted and permitted, and nothing else; the permitted set stays.
pub fn set_effective(wanted: Set) -> io::Result<()> {
    let [mut low, mut high] = get()?;
    let bits = wide(low.permitted, high.permitted).0 & wanted.0;
    low.effective = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
    high.effective = u32::try_from(bits >> 32).unwrap_or(0);
    put([low, high])
}

/// Reduces the permitted set to `wanted`, makes all of it effective and nothing of it inheritable, which empties the ambient
/// set too.
pub fn set(wanted: Set) -> Result<(), PrivilegeError> {
    let what = keep("capabilities");
    let [low, high] = get().map_err(&what)?;
    let bits = wide(low.permitted, high.permitted).0 & wanted.0;
    let half = |bits: u64| {
        let bits = u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Data {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    put([half(bits), half(bits >> 32)]).map_err(&what)
}

/// Empties the bounding set, so that no program that is executed gets a capability, and locks the ways by which root's uid and
/// the ambient set give some. Only who has CAP_SETPCAP can; `no_new_privs` closes the same door for everybody else.
pub fn bound() -> Result<(), PrivilegeError> {
    if !effective().contains(SETPCAP) {
        return Ok(());
    }
    let what = keep("the bounding set");
    for number in 0..libc::c_ulong::from(u64::BITS) {
        // Numbers that this kernel does not know end the list.
        match prctl(libc::PR_CAPBSET_READ, number) {
            Err(_) => break,
            Ok(0) => {}
            Ok(_) => drop(prctl(libc::PR_CAPBSET_DROP, number).map_err(&what)?),
        }
    }
    prctl(libc::PR_SET_SECUREBITS, SECUREBITS)
        .map(drop)
        .map_err(keep("root's rights"))
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<libc::c_int> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the options used here take one integer and touch no memory.
    let result = unsafe { libc::prctl(option, argument, NONE, NONE, NONE) };
    if result >= 0 {
        Ok(result)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_what_is_missing() {
        let there = Set::of(&[BPF, SYS_PTRACE]);
        let missing = Set::of(&[BPF, PERFMON]).without(there);
        assert_eq!(missing.names(), ["CAP_PERFMON"]);
        assert_eq!(Set::of(&[0]).names(), ["0"]);
        assert!(there.contains(SYS_PTRACE) && !there.contains(PERFMON));
    }
}
