//! Real clients, and what they saw.

mod calls;
mod crowd;
mod curl;
mod held;
mod node;
mod python;

pub use calls::Seen;
pub use crowd::{CROWD, TlsClient, chat, crowd, unique};
pub use curl::{Answer, aborted_stream, aborted_stream_tls, curl, curl_tls, https_status};
pub use held::HeldConnection;
pub use node::node_tls;
pub use python::{agent_loop, openai, openai_tls};

use anyhow::{Context, Result};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HEALTH_LIMIT: Duration = Duration::from_secs(5);
/// A status line is shorter.
const STATUS_BYTES: u64 = 64;

/// The process that a request came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    pub pid: u32,
    pub exe: PathBuf,
}

impl Caller {
    fn from_json(value: &Value) -> Result<Self> {
        let pid = value["pid"].as_u64().context("the client does not say its pid")?;
        let exe = value["exe"].as_str().context("the client does not say its exe")?;
        Ok(Self {
            pid: u32::try_from(pid)?,
            exe: exe.into(),
        })
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// The status of a GET, for polling.
pub fn get_status(port: u16, path: &str) -> Result<u16> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(HEALTH_LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )?;
    let mut head = String::new();
    stream.take(STATUS_BYTES).read_to_string(&mut head)?;
    let status = head.split(' ').nth(1).context("no status line")?;
    Ok(status.parse()?)
}
