//! Exchanges as the kernel programs would tell of them, without a kernel.
//!
//! In: fixtures, each of which becomes a connection of its own. Out: the records that the pipeline makes of them. Never: a
//! clock; the same fixtures give the same records.

use audit_agent::event::{HostFact, Input, StartFact};
use audit_agent::pipeline::{Options, Output, Pipeline};
use audit_agent::record;
use audit_agent::record::hash::{Algorithm, Hasher};
use audit_common::abi::{ConnKey, Shortfall};
use audit_common::decode::{Body, Conn, Data, Direction, Event};
use audit_tests::fixture::Fixture;

/// Bytes of one data event, as the kernel programs cut them.
pub const PIECE: usize = 16 * 1024;
const SERVER_PID: u32 = 1000;
const LISTENER: u16 = 8000;
/// Bytes of text in the exchange that others are compared with.
const BODY: usize = 1024;
/// From one connection to the next.
const APART_NS: u64 = 100_000;

/// One chat of 1 KiB in and out, as the loads against a server are.
pub fn plain() -> Fixture {
    let text = "x".repeat(BODY);
    let asked = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let told = format!(
        r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":9}}}}"#
    );
    let message = |start: &str, body: &str| {
        let head = format!(
            "{start}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        (head + body).into_bytes()
    };
    Fixture {
        dir: "plain".into(),
        request: message("POST /v1/chat/completions HTTP/1.1", &asked),
        response: message("HTTP/1.1 200 OK", &told),
        source: String::new(),
    }
}

/// A pipeline and what it gave.
#[derive(Debug)]
pub struct Traffic {
    pipeline: Pipeline,
    next: u64,
    outputs: Vec<Output>,
}

impl Traffic {
    pub fn new(verifier_key: String) -> Self {
        let mut pipeline = Pipeline::new(Options {
            content: Default::default(),
            filter: Default::default(),
            hasher: Hasher::new([9; 32].into(), Algorithm::HmacSha256),
            heartbeat_ns: 60_000_000_000,
            verifier_key,
        });
        pipeline.feed(
            Input::Host(HostFact::Start(StartFact::default())),
            &mut Vec::new(),
        );
        Self {
            pipeline,
            next: 1,
            outputs: Vec::new(),
        }
    }

    /// The records since the last call, with their times.
    pub fn records(&mut self) -> impl Iterator<Item = (Box<record::Body>, u64)> {
        self.outputs.drain(..).filter_map(|output| match output {
            Output::Record { body, unix_ns } => Some((body, unix_ns)),
            _ => None,
        })
    }

    fn feed(&mut self, body: Body<'_>) {
        let event = Event {
            time_ns: self.next * APART_NS,
            pid: SERVER_PID,
            tid: SERVER_PID,
            body,
        };
        self.pipeline.feed(Input::Kernel(event), &mut self.outputs);
    }

    /// One connection: all that was asked, then all that was answered.
    pub fn exchange(&mut self, fixture: &Fixture) {
        let conn = ConnKey {
            sock: self.next,
            generation: self.next,
        };
        let lens = (fixture.request.len() as u64, fixture.response.len() as u64);
        self.feed(Body::ConnOpen(connection(conn, (0, 0))));
        let directions = [
            (Direction::Rx, &fixture.request),
            (Direction::Tx, &fixture.response),
        ];
        for (direction, bytes) in directions {
            let mut offset = 0;
            for bytes in bytes.chunks(PIECE) {
                self.feed(Body::Data(Data {
                    conn,
                    direction,
                    eof: false,
                    joined: false,
                    offset,
                    stream_len: bytes.len() as u32,
                    shortfall: Shortfall::None,
                    bytes,
                }));
                offset += bytes.len() as u64;
            }
        }
        self.feed(Body::ConnClose(connection(conn, lens)));
        self.next += 1;
    }

    /// Time passes, so that what was closed is let go.
    pub fn tick(&mut self) {
        let boot_ns = self.next * APART_NS;
        self.pipeline
            .feed(Input::Host(HostFact::Tick { boot_ns }), &mut self.outputs);
    }
}

fn connection(conn: ConnKey, (rx_bytes, tx_bytes): (u64, u64)) -> Conn<'static> {
    const AF_INET: u16 = 2;
    let mut loopback = [0; 16];
    loopback[..4].copy_from_slice(&[127, 0, 0, 1]);
    Conn {
        conn,
        joined: false,
        upstream: false,
        family: AF_INET,
        local_port: LISTENER,
        remote_port: 1024 + (conn.sock % 60_000) as u16,
        local_addr: loopback,
        remote_addr: loopback,
        netns: 1,
        uid: 0,
        inode: conn.sock,
        peer_pid: 0,
        peer_uid: 0,
        rx_bytes,
        tx_bytes,
        unix_name: &[],
    }
}
