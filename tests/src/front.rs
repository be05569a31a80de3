//! Servers before a server: nginx, and a program that writes each request anew. And one that needs no server behind.
//!
//! In: the address of the server behind. Out: a front on a port of its own; ends when dropped.

use crate::client::get_status;
use crate::process::{Guard, free_port};
use crate::tls::tools::program;
use crate::wait;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(60);

/// A running front.
#[derive(Debug)]
pub struct Front {
    process: Guard,
    _folder: TempDir,
    port: u16,
}

impl Front {
    /// nginx with one worker, which passes on what it gets.
    pub fn nginx(upstream: &str) -> Result<Self> {
        let nginx = program("nginx", "nginx")?;
        Self::start(|folder, port| {
            let path = folder.join("nginx.conf");
            std::fs::write(&path, configuration(port, upstream))?;
            let mut command = Command::new(nginx);
            command
                .args(["-e", "stderr", "-p"])
                .arg(folder)
                .arg("-c")
                .arg(path);
            Ok(command)
        })
    }

    /// A Python program with a thread for each connection; over TLS when there is an authority for the server behind.
    pub fn python(upstream: &str, ca: Option<&Path>) -> Result<Self> {
        let python = program("python3", "python3")?;
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/front.py");
        Self::start(|_, port| {
            let mut command = Command::new(python);
            command.arg(script).arg(port.to_string()).arg(upstream).args(ca);
            Ok(command)
        })
    }

    /// No front: a server that asks for a command to be executed, and is content with its result.
    pub fn scripted(wanted: &str) -> Result<Self> {
        let python = program("python3", "python3")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/scripted_server.py");
        Self::start(|_, port| {
            let mut command = Command::new(python);
            command.arg(script).arg(port.to_string()).arg(wanted);
            Ok(command)
        })
    }

    fn start(command: impl FnOnce(&Path, u16) -> Result<Command>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("audit-front-").tempdir()?;
        let port = free_port()?;
        let log = File::create(folder.path().join("front.log"))?;
        let mut command = command(folder.path(), port)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut process = Guard::spawn(&mut command)?;
        wait::until("the front answering", START_LIMIT, || {
            if let Some(status) = process.ended()? {
                bail!("the front ended with {status}");
            }
            Ok((get_status(port, "/health").ok() == Some(200)).then_some(()))
        })
        .with_context(|| std::fs::read_to_string(folder.path().join("front.log")).unwrap_or_default())?;
        Ok(Self {
            process,
            _folder: folder,
            port,
        })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // nginx's workers end with their master only when that ends in order. A drop cannot report a failure.
        let _ = self.process.terminate();
    }
}

fn configuration(port: u16, upstream: &str) -> String {
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|user| format!("    {user}_temp_path temp_{user};\n"))
        .concat();
    // As root the workers stay root: nobody else may enter the prefix, which is a private folder.
    let user = if nix::unistd::Uid::effective().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        "daemon off;
worker_processes 1;
{user}
pid nginx.pid;
events {{}}
http {{
    access_log off;
{folders}
    upstream behind {{
        server {server};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://behind;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
",
        server = upstream.trim_start_matches("http://"),
    )
}
