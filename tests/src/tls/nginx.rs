//! nginx that ends the TLS before a plain llama-server.
//!
//! In: an upstream. Out: a master with workers; they do the TLS. Never: the machine's own nginx, its configuration or
//! its folders.

use super::served::Served;
use super::tools::program;
use super::{Certificate, TlsServer, as_served};
use crate::slm::server::LlamaServer;
use crate::wait;
use anyhow::Result;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const WORKERS_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Nginx {
    served: Served,
    upstream: LlamaServer,
    /// They do TLS; the kernel chooses one for each connection.
    workers: Vec<u32>,
}

impl Nginx {
    /// Finds what [`Nginx::start`] needs.
    pub fn prepare() -> Result<()> {
        crate::slm::installation()?;
        program("nginx", "nginx").map(drop)
    }

    /// Starts a master with so many workers before the server.
    pub fn start(certificate: &Certificate, upstream: LlamaServer, workers: usize) -> Result<Self> {
        Self::launch(certificate, upstream, workers, "ssl")
    }

    /// The same with HTTP/2 for clients that want it.
    pub fn start_http2(certificate: &Certificate, upstream: LlamaServer, workers: usize) -> Result<Self> {
        Self::launch(certificate, upstream, workers, "ssl http2")
    }

    fn launch(
        certificate: &Certificate,
        upstream: LlamaServer,
        workers: usize,
        protocols: &str,
    ) -> Result<Self> {
        let nginx = program("nginx", "nginx")?;
        let served = Served::start(certificate, "/health", |folder, port| {
            let path = folder.join("nginx.conf");
            std::fs::write(
                &path,
                configuration(certificate, port, &upstream, workers, protocols),
            )?;
            let mut command = Command::new(nginx);
            command
                .args(["-e", "stderr", "-p"])
                .arg(folder)
                .arg("-c")
                .arg(path);
            Ok(command)
        })?;
        let mut started = Self {
            served,
            upstream,
            workers: Vec::new(),
        };
        let master = started.master();
        started.workers = wait::until("all workers of nginx", WORKERS_LIMIT, || {
            let found = children(master)?;
            Ok((found.len() == workers).then_some(found))
        })?;
        Ok(started)
    }

    /// The process that started the workers and does no TLS itself.
    pub fn master(&self) -> u32 {
        self.served.pid()
    }

    /// The plain server behind it.
    pub fn upstream(&self) -> &LlamaServer {
        &self.upstream
    }
}

impl TlsServer for Nginx {
    as_served!();

    fn pid(&self) -> u32 {
        self.workers.first().copied().unwrap_or_default()
    }

    fn pids(&self) -> Vec<u32> {
        self.workers.clone()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers behind. A drop cannot report that the order failed.
        let _ = self.served.terminate();
    }
}

fn configuration(
    certificate: &Certificate,
    port: u16,
    upstream: &LlamaServer,
    workers: usize,
    protocols: &str,
) -> String {
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
master_process on;
worker_processes {workers};
{user}
pid nginx.pid;
events {{}}
http {{
    access_log off;
{folders}
    server {{
        listen 127.0.0.1:{port} {protocols};
        ssl_certificate {chain};
        ssl_certificate_key {key};
        location / {{
            proxy_pass {url};
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host $host;
            proxy_buffering off;
        }}
    }}
}}
",
        chain = certificate.chain().display(),
        key = certificate.key().display(),
        url = upstream.url(),
    )
}

fn children(parent: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in Path::new("/proc").read_dir()? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        if parent_of(pid) == Some(parent) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// None for a process that has ended since it was listed.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything, parentheses and spaces too.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}
