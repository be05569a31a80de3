//! What differs between the machines that kernels are booted for.

use clap::ValueEnum;

/// The series that are tested when none is named; `newest` is whatever the archive has.
pub const SERIES: &[&str] = &["5.10", "6.1", "6.12", "6.18", "newest"];

/// An architecture by the name that compilers and QEMU use.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Arch {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The name in Debian's archive.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Whether this machine runs such programs itself.
    pub fn is_host(self) -> bool {
        std::env::consts::ARCH == self.name()
    }

    /// QEMU and its machine. Emulated: the same everywhere, with or without virtualisation.
    pub fn qemu(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max"],
            Self::Aarch64 => &[
                "qemu-system-aarch64",
                "-machine",
                "virt,accel=tcg",
                "-cpu",
                "cortex-a72",
            ],
        }
    }

    /// The package that has it.
    pub fn qemu_package(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86",
            Self::Aarch64 => "qemu-system-arm",
        }
    }

    /// The serial ports for the kernel's log and for the tests, in the guest.
    pub fn ports(self) -> (&'static str, &'static str) {
        match self {
            Self::X86_64 => ("ttyS0", "ttyS1"),
            Self::Aarch64 => ("ttyAMA0", "ttyS0"),
        }
    }

    /// How QEMU makes the second port write to `id=tests`.
    pub fn second_port(self) -> &'static [&'static str] {
        match self {
            Self::X86_64 => &["-serial", "chardev:tests"],
            Self::Aarch64 => &["-device", "pci-serial,chardev=tests"],
        }
    }
}
