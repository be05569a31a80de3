//! Real peers that speak HTTP/2, gRPC and WebSocket.
//!
//! In: nothing but the programs of this machine and packages of Python (`tests/wire`). Out: servers on loopback ports and
//! clients that say what they sent and got. Never: a peer that outlives its owner.
//!
//! | server | client |
//! | --- | --- |
//! | [`Peer::node`]: an echo of chats in plain HTTP/2 | curl, h2load, [`Talk::node`] |
//! | [`Peer::nghttpd`]: gives uploads back | nghttp |
//! | [`Peer::grpc`]: grpcio, KServe's service without its messages | [`Talk::grpc`] |
//! | [`Peer::websocket`]: the `websockets` package, a realtime session | [`websocket_python`], [`websocket_node`] |

use crate::process::{Guard, free_port};
use crate::tls::tools::program;
use crate::wait;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// A Python server imports for seconds on a loaded machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the peers need from this machine.
#[derive(Clone, Debug)]
pub struct Tools {
    python: PathBuf,
    node: PathBuf,
    nghttpd: PathBuf,
    pub nghttp: PathBuf,
    pub h2load: PathBuf,
}

/// Finds the programs, and makes the environment for Python on first use.
pub fn tools() -> Result<&'static Tools> {
    static TOOLS: OnceLock<Result<Tools, String>> = OnceLock::new();
    let found = TOOLS.get_or_init(|| find().map_err(|error| format!("{error:#}")));
    found.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn find() -> Result<Tools> {
    Ok(Tools {
        node: program("node", "nodejs")?,
        nghttpd: program("nghttpd", "nghttp2-server")?,
        nghttp: program("nghttp", "nghttp2-client")?,
        h2load: program("h2load", "nghttp2-client")?,
        python: environment()?,
    })
}

fn environment() -> Result<PathBuf> {
    let script = file("environment.sh");
    let output = Command::new(&script)
        .output()
        .with_context(|| format!("running {script:?}"))?;
    if !output.status.success() {
        bail!("{script:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().into())
}

/// A file of `tests/wire`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("wire").join(name)
}

/// A server on a port of its own; ends when dropped.
#[derive(Debug)]
pub struct Peer {
    process: Guard,
    folder: TempDir,
    port: u16,
}

impl Peer {
    pub fn node() -> Result<Self> {
        Self::start(|port| {
            let mut command = Command::new(&tools()?.node);
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tls/server.mjs");
            command.arg(script).arg(port.to_string());
            Ok(command)
        })
    }

    pub fn nghttpd() -> Result<Self> {
        Self::start(|port| {
            let mut command = Command::new(&tools()?.nghttpd);
            command.args(["--no-tls", "--echo-upload", "--address", "127.0.0.1"]);
            command.arg(port.to_string());
            Ok(command)
        })
    }

    pub fn grpc() -> Result<Self> {
        Self::python("grpc_server.py")
    }

    pub fn websocket() -> Result<Self> {
        Self::python("websocket_server.py")
    }

    fn python(script: &str) -> Result<Self> {
        Self::start(|port| {
            let mut command = Command::new(&tools()?.python);
            command.arg(file(script)).arg(port.to_string());
            Ok(command)
        })
    }

    /// Starts what `command` makes of a port and waits until somebody takes connections there.
    fn start(command: impl FnOnce(u16) -> Result<Command>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("audit-wire-").tempdir()?;
        let port = free_port()?;
        let log = File::create(folder.path().join("server.log"))?;
        let mut command = command(port)?;
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut peer = Self {
            process: Guard::spawn(&mut command)?,
            folder,
            port,
        };
        let listens = wait::until("a peer taking connections", START_LIMIT, || {
            if let Some(status) = peer.process.ended()? {
                bail!("it ended with {status}");
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop))
        });
        listens.with_context(|| peer.log())?;
        Ok(peer)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// `http://127.0.0.1:PORT/v1/chat/completions`
    pub fn chats(&self) -> String {
        format!("http://127.0.0.1:{}/v1/chat/completions", self.port)
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

/// A client that holds one connection open and makes a call for each line that it is given; ends when dropped.
#[derive(Debug)]
pub struct Talk {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    process: Guard,
}

impl Talk {
    pub fn node(server: &Peer) -> Result<Self> {
        let mut command = Command::new(&tools()?.node);
        command
            .arg(file("h2_client.mjs"))
            .arg(format!("http://127.0.0.1:{}", server.port));
        Self::start(command)
    }

    pub fn grpc(server: &Peer) -> Result<Self> {
        let mut command = Command::new(&tools()?.python);
        command.arg(file("grpc_client.py")).arg(server.port.to_string());
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let mut process = Guard::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let child = process.child_mut();
        Ok(Self {
            stdin: child.stdin.take().context("the client has a stdin")?,
            stdout: BufReader::new(child.stdout.take().context("the client has a stdout")?),
            process,
        })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Makes all calls, the first before the last is answered if the client can, and gives what it says of each.
    pub fn say(&mut self, calls: &[String]) -> Result<Vec<Value>> {
        self.stdin.write_all((calls.join("\n") + "\n").as_bytes())?;
        self.stdin.flush()?;
        calls.iter().map(|_| self.answer()).collect()
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        serde_json::from_str(&line).with_context(|| format!("the client said {line:?}"))
    }
}

/// A session by the `websockets` package, compressed or not, that ends well or not; what it says of it.
pub fn websocket_python(server: &Peer, deflate: bool, fine: bool) -> Result<Value> {
    let mut command = Command::new(&tools()?.python);
    command
        .arg(file("websocket_client.py"))
        .arg(server.port.to_string())
        .arg(if deflate { "deflate" } else { "plain" })
        .arg(if fine { "fine" } else { "fail" });
    said(command)
}

/// A session by the client that node has inside.
pub fn websocket_node(server: &Peer) -> Result<Value> {
    let mut command = Command::new(&tools()?.node);
    command
        .arg("--experimental-websocket")
        .arg(file("websocket_client.mjs"))
        .arg(server.port.to_string());
    said(command)
}

/// What a client says that makes its calls and ends.
fn said(mut command: Command) -> Result<Value> {
    let output = command.output().with_context(|| format!("running {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
