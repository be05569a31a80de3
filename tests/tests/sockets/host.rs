//! A host whose events are made by hand, and what moves on its connections.
//!
//! In: events of the kernel side. Out: what the pipeline asks for and records.

use audit_agent::event::{HostFact, Input, StartFact};
use audit_agent::pipeline::{Options, Output, Pipeline};
use audit_agent::record::hash::{Algorithm, Hasher};
use audit_agent::record::inference::Inference;
use audit_agent::record::{Body as Record, Gap};
use audit_common::abi::{ConnKey, Shortfall};
use audit_common::config::Verdict;
use audit_common::decode::{Body, Conn, Data, Direction, Event, Tls};

pub const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
const PORT: u16 = 8000;

pub struct Host {
    pipeline: Pipeline,
    pub outputs: Vec<Output>,
    time_ns: u64,
}

impl Host {
    pub fn new() -> Self {
        let mut host = Self {
            pipeline: Pipeline::new(Options {
                content: Default::default(),
                filter: Default::default(),
                hasher: Hasher::new([9; 32].into(), Algorithm::Sha256),
                heartbeat_ns: u64::MAX,
                verifier_key: String::new(),
            }),
            outputs: Vec::new(),
            time_ns: 1_000_000,
        };
        let start = Input::Host(HostFact::Start(StartFact::default()));
        host.pipeline.feed(start, &mut host.outputs);
        host
    }

    pub fn feed(&mut self, pid: u32, body: Body<'_>) {
        self.time_ns += 1_000_000;
        let event = Event {
            time_ns: self.time_ns,
            pid,
            tid: pid,
            body,
        };
        self.pipeline.feed(Input::Kernel(event), &mut self.outputs);
    }

    pub fn open(&mut self, pid: u32, conn: ConnKey, client: u16) {
        self.feed(pid, Body::ConnOpen(connection(conn, client, (0, 0))));
    }

    pub fn close(&mut self, pid: u32, conn: ConnKey, client: u16, counts: (usize, usize)) {
        let counts = (counts.0 as u64, counts.1 as u64);
        self.feed(pid, Body::ConnClose(connection(conn, client, counts)));
    }

    /// `bytes` at `offset` of what the server receives (`Rx`) or sends.
    pub fn data(&mut self, pid: u32, conn: ConnKey, direction: Direction, offset: usize, bytes: &[u8]) {
        self.feed(
            pid,
            Body::Data(Data {
                conn,
                direction,
                eof: false,
                joined: false,
                offset: offset as u64,
                stream_len: bytes.len() as u32,
                shortfall: Shortfall::None,
                bytes,
            }),
        );
    }

    /// The last verdict on a listener.
    pub fn verdict(&self) -> Option<Verdict> {
        let mut verdicts = self.outputs.iter().filter_map(|output| match output {
            Output::Listener { verdict, .. } => Some(*verdict),
            _ => None,
        });
        verdicts.next_back()
    }

    /// Time passes.
    pub fn settle(&mut self) {
        for _ in 0..10 {
            self.time_ns += 10_000_000_000;
            let tick = HostFact::Tick {
                boot_ns: self.time_ns,
            };
            self.pipeline.feed(Input::Host(tick), &mut self.outputs);
        }
    }

    /// The calls, when all is over.
    pub fn records(self) -> Vec<Inference> {
        let inferences = self.everything().into_iter().filter_map(|record| match record {
            Record::Inference(inference) => Some(*inference),
            _ => None,
        });
        inferences.collect()
    }

    /// What was declared missing or unassigned, when all is over.
    pub fn gaps(self) -> Vec<Gap> {
        let gaps = self.everything().into_iter().filter_map(|record| match record {
            Record::Gap(gap) => Some(gap),
            _ => None,
        });
        gaps.collect()
    }

    pub fn everything(mut self) -> Vec<Record> {
        self.settle();
        let records = self.outputs.into_iter().filter_map(|output| match output {
            Output::Record { body, .. } => Some(*body),
            _ => None,
        });
        records.collect()
    }
}

pub fn key(sock: u64, generation: u64) -> ConnKey {
    ConnKey { sock, generation }
}

pub fn connection(conn: ConnKey, client: u16, (rx_bytes, tx_bytes): (u64, u64)) -> Conn<'static> {
    let mut loopback = [0; 16];
    loopback[..4].copy_from_slice(&[127, 0, 0, 1]);
    Conn {
        conn,
        joined: false,
        upstream: false,
        family: AF_INET,
        local_port: PORT,
        remote_port: client,
        local_addr: loopback,
        remote_addr: loopback,
        netns: 1,
        uid: 0,
        inode: conn.generation,
        peer_pid: 0,
        peer_uid: 0,
        rx_bytes,
        tx_bytes,
        unix_name: &[],
    }
}

pub fn request(prompt: &str) -> Vec<u8> {
    let body =
        format!(r#"{{"model":"m","stream":true,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: ";
    format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A whole stream, and where its last event begins.
pub fn response(id: &str) -> (Vec<u8>, usize) {
    let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let said = format!(
        "data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{id}\"}}}}]}}\n\n"
    );
    let begun = head.to_owned() + &chunk(said);
    let whole = begun.clone() + &chunk("data: [DONE]\n\n".into()) + "0\r\n\r\n";
    (whole.into_bytes(), begun.len())
}

pub fn id(record: &Inference) -> &str {
    record.response_id.as_deref().unwrap_or_default()
}

pub const RECORD: &[u8] = b"\x16\x03\x01\x02\x00";

/// A library used the socket of `conn` inside a call on `session`.
pub fn tls_socket(session: ConnKey, conn: ConnKey) -> Body<'static> {
    Body::TlsSocket(Tls {
        session,
        conn: Some(conn),
        inside: true,
        joined: false,
        rx_bytes: 0,
        tx_bytes: 0,
    })
}

/// The first plaintext of a session in one direction.
pub fn plain(session: ConnKey, direction: Direction, bytes: &[u8]) -> Body<'_> {
    Body::TlsData(Data {
        conn: session,
        direction,
        eof: false,
        joined: false,
        offset: 0,
        stream_len: bytes.len() as u32,
        shortfall: Shortfall::None,
        bytes,
    })
}
