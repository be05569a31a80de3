//! `cargo xtask`: the commands that build, run, test and measure audit-agent.

mod bench;
mod bpf;
mod ci;
mod fuzz;
mod run;
mod shell;
mod test;
mod tls;
mod toolchain;
mod vm;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Build, run, test and measure audit-agent")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the kernel programs and the agent
    Build,
    /// Build everything and run the agent on this host; arguments go to `audit-agent run`
    Run {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run every test, those on the kernel and on a real server included where this machine can
    Test,
    /// Format, lints, tests, documentation, fuzzing, measurements: what has to pass
    Ci,
    /// Measure the agent side by side with a host without it; arguments go to the driver
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Fuzz every target for some seconds
    Fuzz {
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Capture from every TLS server that can be had here, and write what is seen to docs/coverage.md
    TlsCoverage,
    /// Boot other kernels in QEMU and test the agent on each
    Vm(vm::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Build => run::build().map(drop),
        Command::Run { args } => run::run(&args),
        Command::Test => test::run(),
        Command::Ci => ci::run(),
        Command::Bench { args } => bench::run(&args),
        Command::Fuzz { seconds } => fuzz::run(seconds),
        Command::TlsCoverage => tls::run(),
        Command::Vm(args) => vm::run(&args),
    }
}
