//! `audit-agent serve`: the log as a server of C2SP tlog-tiles, for verifiers and monitors elsewhere.

use super::log::log_dir;
use crate::ledger::disk::DirDisk;
use crate::ledger::http::{Response, server};
use crate::ledger::source::{Files, Source};
use crate::ledger::store::{CHECKPOINT, COSIGNED, KEPT};
use anyhow::Context;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log's directory
    #[arg(long, default_value = super::DEFAULT_DIR)]
    log: PathBuf,
    /// Address and port to answer on; records name users and models, so think before it is not this host
    #[arg(long, default_value = "127.0.0.1:8787")]
    listen: String,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let listener =
        TcpListener::bind(&args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(address = %listener.local_addr()?, "the log is served");
    let dir = log_dir(&args.log);
    server::serve(&listener, move |request| answer(&dir, &request))?;
    Ok(ExitCode::SUCCESS)
}

fn answer(dir: &Path, request: &server::Request) -> Response {
    if request.method != "GET" {
        return Response::text(405, "only GET\n");
    }
    let path = request.path.trim_start_matches('/');
    // Read anew for each request: the agent writes meanwhile.
    match Files::new(DirDisk::new(dir)).fetch(path) {
        Ok(Some(body)) => Response {
            status: 200,
            content_type: content_type(path).into(),
            body,
        },
        Ok(None) => Response::text(404, "not here\n"),
        Err(error) => {
            tracing::warn!(%error, path, "a resource cannot be read");
            Response::text(500, "cannot be read\n")
        }
    }
}

fn content_type(path: &str) -> &'static str {
    if [CHECKPOINT, COSIGNED, KEPT].contains(&path) {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    }
}
