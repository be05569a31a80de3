//! What is tested: a new way to capture is a new path, a new kind of traffic a new case.

mod holders;
mod moves;
mod places;

use super::client::Manner;
use super::exchange::Exchange;
use super::holder::Holder;
use super::place::Family;

/// When a case's server starts to listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listens {
    BeforeTheAgent,
    LaterThanTheAgent,
}

/// Exchanges with one server.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub listens: Listens,
    /// Which calls move the server's bytes.
    pub calls: &'static str,
    pub holder: Holder,
    pub family: Family,
    pub manner: Manner,
    pub exchanges: &'static [Exchange],
}

impl Case {
    /// A server that starts to listen under the agent's eyes, has a thread for each connection, and uses `calls`.
    const fn of(name: &'static str, calls: &'static str, exchanges: &'static [Exchange]) -> Self {
        Self {
            name,
            listens: Listens::LaterThanTheAgent,
            calls,
            holder: Holder::Thread,
            family: Family::V4,
            manner: Manner::KeepAlive,
            exchanges,
        }
    }

    const fn early(mut self) -> Self {
        self.listens = Listens::BeforeTheAgent;
        self
    }

    const fn held_by(mut self, holder: Holder) -> Self {
        self.holder = holder;
        self
    }

    const fn at(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    const fn asked(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

/// A capture path, as the configuration and the records name it.
#[derive(Debug)]
pub struct Path {
    pub name: &'static str,
    /// Whether every kernel of this machine's kind has it.
    pub everywhere: bool,
}

/// Trampolines for arm64 came after the oldest kernels that are supported; the tables that the repository keeps tell when
/// a kernel that had them has them no more.
pub const PATHS: &[Path] = &[
    Path {
        name: "tracepoint",
        everywhere: true,
    },
    Path {
        name: "fentry",
        everywhere: cfg!(target_arch = "x86_64"),
    },
    Path {
        name: "kprobe",
        everywhere: true,
    },
];

/// Every case.
pub fn all() -> impl Iterator<Item = &'static Case> {
    moves::CASES.iter().chain(holders::CASES).chain(places::CASES)
}

const PLAIN: Exchange = Exchange::plain();
const STREAMED: Exchange = Exchange::streamed();
const LARGE_ANSWER: Exchange = Exchange {
    tokens: 40_000,
    ..PLAIN
};
