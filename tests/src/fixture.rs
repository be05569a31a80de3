//! Exchanges as they were on the wire, and what the agent makes of them.
//!
//! In: `tests/fixtures/<family>/<name>/` with `request.http`, `response.http`, `SOURCE`. Out: the calls that the pure core
//! reads from them, as JSON that leaves out what is empty. Never: a socket, a clock; times are places in the response.

mod litellm;
pub mod record;
mod view;

use anyhow::{Context, Result};
use audit_agent::http::{self, Chunk};
use audit_agent::pipeline::connection::Connection;
use audit_agent::pipeline::exchange::{Exchanges, Finished};
use audit_agent::pipeline::tls::SessionId;
use audit_agent::record::hash::{Algorithm, Hasher};
use audit_common::abi::ConnKey;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One exchange, or several on one connection.
#[derive(Clone, Debug)]
pub struct Fixture {
    pub dir: PathBuf,
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub source: String,
}

/// A piece of one of the two directions.
#[derive(Clone, Debug)]
pub enum Piece<'a> {
    Asked(Chunk<'a>),
    Answered(Chunk<'a>),
}

/// Where they are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// Every fixture there is, in order of their names.
pub fn all() -> Result<Vec<Fixture>> {
    let mut dirs = Vec::new();
    for family in std::fs::read_dir(root())? {
        let family = family?.path();
        if family.is_dir() {
            for fixture in std::fs::read_dir(family)? {
                dirs.push(fixture?.path());
            }
        }
    }
    dirs.sort();
    dirs.into_iter().map(Fixture::load).collect()
}

impl Fixture {
    fn load(dir: PathBuf) -> Result<Self> {
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read(&path).with_context(|| format!("{path:?}"))
        };
        Ok(Self {
            request: read("request.http")?,
            response: read("response.http")?,
            source: String::from_utf8(read("SOURCE")?)?,
            dir,
        })
    }

    /// `family/name`
    pub fn name(&self) -> String {
        let name = self.dir.strip_prefix(root()).unwrap_or(&self.dir);
        name.display().to_string()
    }

    pub fn expected(&self) -> PathBuf {
        self.dir.join("expected.json")
    }

    /// A line `name: value` of `SOURCE`.
    pub fn source(&self, name: &str) -> Option<&str> {
        let lines = self.source.lines();
        lines
            .filter_map(|line| line.split_once(": "))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// What is read when each direction comes in pieces of `cut` bytes.
    pub fn calls(&self, cut: usize) -> Vec<Value> {
        self.of(&self.request, &self.response, cut)
    }

    /// The records of it.
    pub fn records(&self) -> Vec<Value> {
        let hasher = hasher();
        let (finished, connection) = finished(pieces(&self.request, &self.response, usize::MAX), &hasher);
        let records = finished.iter();
        records
            .map(|finished| view::record(finished, &connection, &hasher))
            .collect()
    }

    /// The same of parts of it.
    pub fn of(&self, request: &[u8], response: &[u8], cut: usize) -> Vec<Value> {
        decode(pieces(request, response, cut))
    }

    /// What is read when bytes of the response are lost.
    pub fn with_gap(&self, from: usize, len: usize) -> Vec<Value> {
        let (before, rest) = self.response.split_at(from);
        let after = rest.get(len..).unwrap_or_default();
        decode([
            Piece::Asked(Chunk::Data(&self.request)),
            Piece::Answered(Chunk::Data(before)),
            Piece::Answered(Chunk::Gap(len as u64)),
            Piece::Answered(Chunk::Data(after)),
        ])
    }
}

fn hasher() -> Hasher {
    Hasher::new([9; 32].into(), Algorithm::Sha256)
}

/// All that was asked, then all that was answered, in pieces of `cut` bytes.
fn pieces<'a>(request: &'a [u8], response: &'a [u8], cut: usize) -> impl Iterator<Item = Piece<'a>> {
    let asked = request.chunks(cut).map(|data| Piece::Asked(Chunk::Data(data)));
    let answered = response
        .chunks(cut)
        .map(|data| Piece::Answered(Chunk::Data(data)));
    asked.chain(answered)
}

/// The calls of one connection.
pub fn decode<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) -> Vec<Value> {
    let hasher = hasher();
    let (finished, connection) = finished(pieces, &hasher);
    let calls = finished.iter();
    calls
        .map(|finished| view::of(finished, &connection, &hasher))
        .collect()
}

/// What ended on one connection. The time is how many bytes of answers have come, in microseconds.
fn finished<'a>(pieces: impl IntoIterator<Item = Piece<'a>>, hasher: &Hasher) -> (Vec<Finished>, Connection) {
    let mut connection = connection();
    let mut exchanges = Exchanges::default();
    let mut finished: Vec<Finished> = Vec::new();
    let mut time_ns = 0;
    let ends = [Piece::Asked(Chunk::Eof), Piece::Answered(Chunk::Eof)];
    for piece in pieces.into_iter().chain(ends) {
        let (response, chunk) = match piece {
            Piece::Asked(chunk) => (false, chunk),
            Piece::Answered(chunk) => (true, chunk),
        };
        if let (true, Chunk::Data(data)) = (response, chunk) {
            time_ns += 1000 * data.len() as u64;
        }
        connection.http.push(response, chunk, &mut |event| {
            finished.extend(exchanges.event(event, time_ns, hasher))
        });
    }
    connection
        .http
        .close(&mut |event| finished.extend(exchanges.event(event, time_ns, hasher)));
    (finished, connection)
}

fn connection() -> Connection {
    let session = ConnKey {
        sock: 1,
        generation: 1,
    };
    let mut connection = Connection::of_session(SessionId { pid: 1, session }, false, 0);
    connection.http = http::Connection::new(false);
    connection.tls = None;
    connection
}
