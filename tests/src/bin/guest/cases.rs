//! What is tested: a new way to capture is a new suite, a new kind of traffic a new case.

use super::channel::Calls;
use super::exchange::Exchange;
use Listens::{BeforeTheAgent, LaterThanTheAgent};

/// Body of the largest request: 4 MiB with everything around it.
const LARGE: usize = 4 * 1024 * 1024 - 1024;

/// When a case's server starts to listen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listens {
    BeforeTheAgent,
    LaterThanTheAgent,
}

/// Exchanges on one connection.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub listens: Listens,
    pub calls: Calls,
    pub unix: bool,
    pub exchanges: &'static [Exchange],
}

/// Cases with one agent.
#[derive(Debug)]
pub struct Suite {
    /// The capture path, as the configuration and the records name it.
    pub path: &'static str,
    /// Whether every kernel of this machine's kind has it.
    pub everywhere: bool,
    pub cases: &'static [Case],
}

/// Trampolines for arm64 came after the oldest kernels that are supported; the counts that the repository keeps tell when
/// a kernel that had them has them no more.
pub const SUITES: &[Suite] = &[
    Suite {
        path: "tracepoint",
        everywhere: true,
        cases: CASES,
    },
    Suite {
        path: "fentry",
        everywhere: cfg!(target_arch = "x86_64"),
        cases: CASES,
    },
];

const PLAIN: Exchange = Exchange::plain();
const STREAMED: Exchange = Exchange::streamed();
const LARGE_REQUEST: Exchange = Exchange {
    stream: false,
    prompt_bytes: LARGE,
    tokens: 5,
};
const LARGE_ANSWER: Exchange = Exchange {
    stream: false,
    prompt_bytes: 100,
    tokens: 40_000,
};

const fn case(name: &'static str, listens: Listens, calls: Calls, exchanges: &'static [Exchange]) -> Case {
    Case {
        name,
        listens,
        calls,
        unix: false,
        exchanges,
    }
}

const CASES: &[Case] = &[
    case("plain", LaterThanTheAgent, Calls::Socket, &[PLAIN]),
    case("streamed", LaterThanTheAgent, Calls::Socket, &[STREAMED]),
    case("read_write", BeforeTheAgent, Calls::File, &[PLAIN, STREAMED]),
    case(
        "vectors",
        LaterThanTheAgent,
        Calls::Vector,
        &[PLAIN, STREAMED, LARGE_ANSWER],
    ),
    case(
        "messages",
        LaterThanTheAgent,
        Calls::Message,
        &[PLAIN, STREAMED, LARGE_ANSWER],
    ),
    case("large_request", BeforeTheAgent, Calls::Socket, &[LARGE_REQUEST]),
    case(
        "keep_alive",
        LaterThanTheAgent,
        Calls::Socket,
        &[PLAIN, STREAMED, PLAIN, LARGE_ANSWER, PLAIN],
    ),
    Case {
        unix: true,
        ..case("unix_early", BeforeTheAgent, Calls::File, &[PLAIN, STREAMED])
    },
    Case {
        unix: true,
        ..case("unix", LaterThanTheAgent, Calls::Socket, &[STREAMED, PLAIN])
    },
];
