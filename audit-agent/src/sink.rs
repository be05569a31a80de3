//! Where signed lines are shown besides the log's own file.

use crate::cli::pretty;
use std::io::{BufWriter, IsTerminal, Stdout, Write};

/// How records appear on standard output.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// The signed lines themselves.
    Json,
    /// One readable line for each record.
    Pretty,
    /// Nothing.
    None,
}

impl Format {
    /// Readable on a terminal, JSON elsewhere.
    pub fn for_stdout() -> Self {
        if std::io::stdout().is_terminal() {
            Self::Pretty
        } else {
            Self::Json
        }
    }
}

/// Standard output; whoever reads it may go away without harm to the log.
#[derive(Debug)]
pub struct Sink {
    format: Format,
    out: BufWriter<Stdout>,
    broken: bool,
}

impl Sink {
    pub fn new(format: Format) -> Self {
        Self {
            format,
            out: BufWriter::with_capacity(256 * 1024, std::io::stdout()),
            broken: false,
        }
    }

    /// Shows one signed line.
    pub fn line(&mut self, line: &[u8]) {
        let written = match self.format {
            Format::None => return,
            _ if self.broken => return,
            Format::Json => self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")),
            Format::Pretty => match serde_json::from_slice(line) {
                Ok(record) => writeln!(self.out, "{}", pretty::line(&record)),
                Err(_) => return,
            },
        };
        self.note(written);
    }

    pub fn flush(&mut self) {
        let flushed = self.out.flush();
        self.note(flushed);
    }

    fn note(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result
            && !self.broken
        {
            self.broken = true;
            tracing::warn!(%error, "standard output is gone; records go on to the log only");
        }
    }
}
