//! Real inference servers that speak TLS, one for each way in which processes come by TLS.
//!
//! In: a [`Certificate`]. Out: servers of this machine that answer on `https://localhost:PORT`, each in a process whose
//! pid is known. Never: a server whose prerequisites are missing without a word about it: `prepare` says what is
//! missing, and [`crate::live::prerequisite`] decides whether the test is skipped or fails.
//!
//! | server | TLS |
//! | --- | --- |
//! | [`llama::LlamaTls`] | llama.cpp; OpenSSL as a shared library |
//! | the same by `start_static` | OpenSSL inside the executable |
//! | [`uvicorn::Uvicorn`] | llama.cpp for Python; OpenSSL as a shared library, on memory buffers and not on sockets |
//! | [`nginx::Nginx`] | OpenSSL as a shared library, in worker processes, before a plain llama.cpp |
//! | [`node::Node`] | OpenSSL inside the executable where `node` is the vendor's, a shared library where it is Debian's |
//! | [`golang::Golang`] | Go's `crypto/tls` |
//! | [`gnutls::Gnutls`] | GnuTLS as a shared library |
//! | [`rustls::Rustls`] | rustls |
//!
//! What is no llama.cpp is an echo, the same everywhere (`tests/tls`): the answer to the n-th chat is
//! `echo N: ` and the text of the last message. A stream has one chunk for each word, and `usage` where
//! `stream_options.include_usage` asks for it. `GET /health` gives 200.

pub mod certificate;
pub mod gnutls;
pub mod golang;
pub mod llama;
pub mod nginx;
pub mod node;
pub mod rustls;
mod served;
pub(crate) mod tools;
pub mod uvicorn;

pub use certificate::Certificate;

use crate::exchange::Party;
use anyhow::Result;
use std::path::PathBuf;

/// A server that answers `/v1/chat/completions` over TLS; ends when dropped.
pub trait TlsServer: std::fmt::Debug {
    fn port(&self) -> u16;

    /// The process that does the TLS; of several one.
    fn pid(&self) -> u32;

    /// All processes that may do it.
    fn pids(&self) -> Vec<u32> {
        vec![self.pid()]
    }

    /// The weights that they have open.
    fn weights(&self) -> Option<PathBuf> {
        None
    }

    fn certificate(&self) -> &Certificate;

    /// What the server wrote so far.
    fn log(&self) -> String;

    /// `https://localhost:PORT`
    fn url(&self) -> String {
        format!("https://localhost:{}", self.port())
    }

    /// The file of the authority that a client has to trust.
    fn ca(&self) -> PathBuf {
        self.certificate().ca()
    }

    /// The executable as the kernel names it.
    fn exe(&self) -> Result<PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/exe", self.pid()))?)
    }

    /// What its records must say of it.
    fn party(&self) -> Result<Party> {
        Ok(Party {
            pids: self.pids(),
            exe: self.exe()?,
            port: self.port(),
            model: self.weights(),
        })
    }

    /// Whether the process has a file mapped whose name begins so, for example `libssl.so`.
    fn maps(&self, library: &str) -> Result<bool> {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.pid()))?;
        Ok(maps
            .lines()
            .filter_map(|line| line.rsplit_once('/'))
            .any(|(_, name)| name.starts_with(library)))
    }
}

/// The part of [`TlsServer`] that a server with a field `served` need not write.
macro_rules! as_served {
    () => {
        fn port(&self) -> u16 {
            self.served.port()
        }

        fn certificate(&self) -> &$crate::tls::Certificate {
            self.served.certificate()
        }

        fn log(&self) -> String {
            self.served.log()
        }
    };
}
use as_served;
