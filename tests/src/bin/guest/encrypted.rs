//! A server whose bytes a TLS library encrypts, OpenSSL's own `s_server`, and what is seen of it at the library.
//!
//! In: a capture path; `openssl` in the path. Out: whether the records of a plain and of a streamed exchange are complete and
//! right, for connections that are younger than the agent, to a server that is younger and to one that is older.

use super::account::Outcome;
use super::channel::Channel;
use super::client::Session;
use super::exchange::{Exchange, check};
use super::place::{self, Family};
use super::{doctor, server};
use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::process::Guard;
use audit_tests::record::{self, PLAIN_HASHES};
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A name, and what is done on a capture path.
type Case = (&'static str, fn(&str) -> Result<Outcome>);

/// Every case.
pub const CASES: &[Case] = &[("tls_openssl", younger), ("tls_openssl_early", older)];

/// Whether this guest has what the cases need.
pub fn available() -> bool {
    let version = Command::new("openssl")
        .arg("version")
        .stdout(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

fn younger(path: &str) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let mut agent = agent(dir.path(), path)?;
    let server = Server::start(dir.path())?;
    seen(&mut agent, &server, path)
}

fn older(path: &str) -> Result<Outcome> {
    let dir = tempfile::tempdir()?;
    let server = Server::start(dir.path())?;
    let mut agent = agent(dir.path(), path)?;
    seen(&mut agent, &server, path)
}

fn agent(dir: &Path, path: &str) -> Result<Agent> {
    Agent::start(Options {
        dir,
        output: "json",
        config: &format!("{PLAIN_HASHES}[capture]\npath = \"{path}\"\n"),
    })
    .with_context(|| format!("{:?}", doctor::check(path)))
}

/// Makes two exchanges on one connection, and checks their records.
fn seen(agent: &mut Agent, server: &Server, path: &str) -> Result<Outcome> {
    let client = openssl(&["s_client", "-quiet", "-connect", &server.place])?;
    let (mut client, socket) = tunnel(client)?;
    let mut session = Session::over(File::from(OwnedFd::from(socket)), &server.place);
    for (name, exchange) in [("plain", Exchange::plain()), ("streamed", Exchange::streamed())] {
        session.post(&exchange.body(&format!("encrypted {name}")).to_string())?;
    }
    let moved = session.close()?;
    client.terminate()?;
    let records = agent.wait_for("both records", LIMIT, |records| {
        record::of_type(records, "inference").len() >= moved.bodies.len()
    })?;
    let found = record::of_type(&records, "inference");
    ensure!(found.len() == moved.bodies.len(), "{} records", found.len());
    for (found, bodies) in found.iter().zip(&moved.bodies) {
        check(found, path, bodies)?;
        let library = &found["capture"]["tls"]["library"];
        ensure!(library == "openssl", "the library is {library}");
    }
    Ok(Outcome::Seen)
}

/// `openssl s_server`, behind which this program answers.
struct Server {
    place: String,
    _process: Guard,
}

impl Server {
    fn start(dir: &Path) -> Result<Self> {
        let place = place::free(Family::V4, dir, "tls")?;
        let (key, certificate) = (dir.join("key.pem"), dir.join("certificate.pem"));
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-config",
                "/dev/null",
                "-keyout",
            ])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()?;
        ensure!(made.status.success(), "{made:?}");
        let files = [&key, &certificate].map(|path| path.to_string_lossy().into_owned());
        let [key, certificate] = files.each_ref().map(String::as_str);
        let process = openssl(&[
            "s_server",
            "-quiet",
            "-accept",
            &place,
            "-key",
            key,
            "-cert",
            certificate,
        ])?;
        let (process, socket) = tunnel(process)?;
        let channel = Channel::new(socket, "socket")?;
        std::thread::spawn(move || server::serve(channel));
        audit_tests::wait::until("the TLS server listening", LIMIT, || {
            // A connection that says nothing, and that the server then waits no longer for.
            Ok(TcpStream::connect(&place).ok().map(drop))
        })?;
        Ok(Self {
            place,
            _process: process,
        })
    }
}

fn openssl(arguments: &[&str]) -> Result<Guard> {
    let mut command = Command::new("openssl");
    let command = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    Guard::spawn(command.stderr(Stdio::null()))
}

/// A socket that is the process's standard input and output. The process itself has pipes, since what it does on sockets is
/// looked at.
fn tunnel(mut process: Guard) -> Result<(Guard, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = process.child_mut();
    let stdin = child.stdin.take().context("a standard input")?;
    let stdout = child.stdout.take().context("a standard output")?;
    let reads = theirs.try_clone()?;
    std::thread::spawn(move || copy(reads, stdin));
    std::thread::spawn(move || copy(stdout, theirs));
    Ok((process, ours))
}

/// Copies until one of both is closed.
fn copy(mut from: impl Read, mut to: impl Write) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..count) else { return };
        if to.write_all(bytes).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}
