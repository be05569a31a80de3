//! Address families, unix sockets, network namespaces.

use super::{Case, PLAIN, STREAMED};
use crate::exchange::Exchange;
use crate::place::Family;

const BOTH: &[Exchange] = &[PLAIN, STREAMED];

pub const CASES: &[Case] = &[
    Case::of("ipv6", "socket", BOTH).at(Family::V6),
    Case::of("ipv4_mapped", "socket", BOTH).at(Family::Mapped),
    Case::of("unix_early", "file", BOTH).at(Family::UnixPath).early(),
    Case::of("unix", "socket", BOTH).at(Family::UnixPath),
    Case::of("unix_vectors", "vectors_200", BOTH).at(Family::UnixPath),
    Case::of("unix_messages", "messages_5", BOTH).at(Family::UnixPath),
    Case::of("unix_sendfile", "sendfile", BOTH).at(Family::UnixPath),
    Case::of("unix_abstract", "socket", BOTH).at(Family::UnixAbstract),
    Case::of("namespace", "socket", BOTH).at(Family::Namespace),
    Case::of("namespace_early", "socket", BOTH)
        .at(Family::Namespace)
        .early(),
];
