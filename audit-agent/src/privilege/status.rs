//! What the kernel says that a process may do: the rows of `/proc/PID/status` (proc_pid_status(5)).

use super::capabilities::Set;

/// The rights of one process.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Effective.
    pub uid: u32,
    pub effective: Set,
    pub permitted: Set,
    pub bounding: Set,
    pub no_new_privs: bool,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: u32,
}

impl Status {
    /// Whether it is what a process should have that parses: nothing.
    pub fn is_confined(self) -> bool {
        let none = [self.effective, self.permitted] == [Set::EMPTY; 2];
        none && self.uid != 0 && self.no_new_privs && self.seccomp == 2
    }
}

/// Of this process.
pub fn own() -> Status {
    parse(&std::fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Reads the text of a status file; what it does not say is zero.
pub fn parse(text: &str) -> Status {
    let words = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let number = |name: &str, at: usize| words(name).get(at).and_then(|word| word.parse().ok());
    let set = |name: &str| {
        let bits = words(name)
            .first()
            .and_then(|word| u64::from_str_radix(word, 16).ok());
        Set(bits.unwrap_or(0))
    };
    Status {
        uid: number("Uid:", 1).unwrap_or(0),
        effective: set("CapEff:"),
        permitted: set("CapPrm:"),
        bounding: set("CapBnd:"),
        no_new_privs: number("NoNewPrivs:", 0) == Some(1),
        seccomp: number("Seccomp:", 0).unwrap_or(0),
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let capabilities = match self.permitted {
            Set::EMPTY => "none".into(),
            set => set.names().join(" "),
        };
        let privileges = if self.no_new_privs { "on" } else { "off" };
        let filter = if self.seccomp == 2 { "on" } else { "off" };
        write!(
            f,
            "uid {}, capabilities {capabilities}, no_new_privs {privileges}, seccomp filter {filter}",
            self.uid
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_rows_of_a_status_file() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nCapPrm:\t000001c000080004\nCapEff:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        let status = parse(text);
        assert_eq!((status.uid, status.seccomp, status.no_new_privs), (2, 2, true));
        assert_eq!(status.permitted, super::super::MONITOR);
        assert!(
            status
                .to_string()
                .starts_with("uid 2, capabilities CAP_DAC_READ_SEARCH CAP_SYS_PTRACE")
        );
    }

    #[test]
    fn only_who_has_nothing_is_confined() {
        let good = parse("Uid:\t1\t1\nNoNewPrivs:\t1\nSeccomp:\t2\n");
        assert!(good.is_confined());
        let worse = [
            Status { uid: 0, ..good },
            Status {
                permitted: super::super::NEEDED,
                ..good
            },
            Status {
                effective: super::super::NEEDED,
                ..good
            },
            Status {
                no_new_privs: false,
                ..good
            },
            Status { seccomp: 0, ..good },
        ];
        assert!(!worse.into_iter().any(Status::is_confined));
    }

    #[test]
    fn a_text_that_is_no_status_file_says_nothing() {
        assert_eq!(parse("Uid:\nCapPrm: zz"), Status::default());
    }
}
