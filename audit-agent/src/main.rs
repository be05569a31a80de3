//! The `audit-agent` command.

use audit_agent::cli;
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::process::ExitCode;

/// Signed audit records of every call to the language models on this host
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch this host's inference servers and write the signed log
    #[cfg(feature = "live")]
    Run(cli::run::Args),
    /// Write what the kernel sees to a capture file
    #[cfg(feature = "live")]
    Record(cli::run::RecordArgs),
    /// Attach programs that do nothing, for measurements
    #[cfg(feature = "live")]
    #[command(hide = true)]
    BenchFloor,
    /// Turn a capture file into records
    Replay(cli::replay::Args),
    /// Check a log with its public key
    Verify(cli::verify::Args),
    /// Prove that one record is in the log
    Prove(cli::prove::Args),
    /// Write records with all that others need to check them
    Export(cli::export::Args),
    /// Offer the log to verifiers elsewhere
    Serve(cli::serve::Args),
    /// Cosign the checkpoints of logs on other hosts
    Witness(cli::witness::Args),
    /// Show one record, or what was asked and answered in it
    Show(cli::show::Args),
    /// Keys of those who may read stored content
    #[command(subcommand)]
    Content(cli::content::Content),
    /// Make a user's content unreadable and its records unlinkable
    Erase(cli::content::EraseArgs),
    /// Say what this host lets the agent see
    Doctor(cli::doctor::Args),
}

impl Command {
    /// Whether it only prints what it found: nothing is lost when nobody reads on.
    fn prints(&self) -> bool {
        matches!(
            self,
            Self::Replay(_) | Self::Verify(_) | Self::Prove(_) | Self::Show(_) | Self::Doctor(_)
        )
    }
}

/// Lets `audit-agent show ... | head` end quietly, as other programs do, and not with a panic.
fn end_with_the_pipe() {
    // SAFETY: no other thread runs yet, and the default action runs no code of ours.
    let set = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
    if let Err(error) = set {
        tracing::debug!(%error, "SIGPIPE stays ignored");
    }
}

fn main() -> ExitCode {
    cli::memory::keep_freed();
    let filter = tracing_subscriber::EnvFilter::try_from_env("AUDIT_AGENT_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,aya=error"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(filter)
        .with_target(false)
        .init();
    let command = Cli::parse().command;
    if command.prints() {
        end_with_the_pipe();
    }
    let result = match command {
        #[cfg(feature = "live")]
        Command::Run(args) => cli::run::run(args),
        #[cfg(feature = "live")]
        Command::Record(args) => cli::run::record(&args),
        #[cfg(feature = "live")]
        Command::BenchFloor => cli::run::floor(),
        Command::Replay(args) => cli::replay::run(&args),
        Command::Verify(args) => cli::verify::run(&args),
        Command::Prove(args) => cli::prove::run(&args),
        Command::Export(args) => cli::export::run(&args),
        Command::Serve(args) => cli::serve::run(&args),
        Command::Witness(args) => cli::witness::run(&args),
        Command::Show(args) => cli::show::run(&args),
        Command::Content(command) => cli::content::run(&command),
        Command::Erase(args) => cli::content::erase(&args),
        Command::Doctor(args) => cli::doctor::run(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{}", cli::in_words(&error));
            ExitCode::from(2)
        }
    }
}
