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
    pub name: &'static str,
    /// What the agent's configuration says besides the hash.
    pub config: &'static str,
    pub cases: &'static [Case],
}

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

/// The same traffic on both capture paths.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "tracepoint",
        config: "[capture]\npath = \"tracepoint\"\n",
        cases: MOVES,
    },
    Suite {
        name: "fentry",
        config: "[capture]\npath = \"fentry\"\n",
        cases: MOVES,
    },
];

const MOVES: &[Case] = &[
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
