//! `cargo xtask bench`: every measurement in one run, as Markdown on stdout.

use anyhow::{Context, Result};
use audit_benches::arm::Arm;
use audit_benches::cases::{CASES, Effort};
use audit_benches::replay::SCENES;
use audit_benches::syscalls::Kind;
use audit_benches::{families, ledger, load, mock, replay, report, soak, tls, unwatched, wire};
use audit_tests::live;
use clap::{Parser, Subcommand};
use std::fmt::Write;
use std::path::PathBuf;

/// Measures audit-agent against the same machine without it
#[derive(Debug, Parser)]
struct Cli {
    /// Short runs: shows that everything works, the figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Only the loads whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Also write the tables to this file
    #[arg(long)]
    report: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Part>,
}

/// Parts that can be used by hand.
#[derive(Debug, Subcommand)]
enum Part {
    /// Answer chat requests from memory
    MockServer(mock::Options),
    /// Load a server and print what came of it as JSON
    Load(load::Options),
    /// Read the same exchanges in each protocol; needs no kernel
    Wire,
    /// Write, check and prove a log; needs no kernel
    Ledger,
    /// The highest rate for so long, and whether the agent's memory stays flat
    Soak {
        #[arg(long, default_value_t = 600.0)]
        seconds: f64,
    },
    /// Read the fixtures of every API family; needs no kernel
    Families,
    /// What processes pay that nobody watches
    Unwatched,
}

/// How much of everything.
struct Scale {
    loads: Effort,
    capture_seconds: f64,
    repeat: u32,
    pairs: u32,
    rounds: usize,
    exchanges: u32,
    ledger: ledger::Effort,
    calls: u64,
}

const FULL: Scale = Scale {
    loads: Effort {
        seconds: 5.0,
        rounds: 5,
    },
    capture_seconds: 5.0,
    repeat: 20,
    pairs: 1_000_000,
    rounds: 5,
    exchanges: 100,
    ledger: ledger::Effort {
        records: 200_000,
        seconds: 20,
    },
    calls: 2_000,
};
const SMOKE: Scale = Scale {
    loads: Effort {
        seconds: 0.5,
        rounds: 1,
    },
    capture_seconds: 0.5,
    repeat: 2,
    pairs: 50_000,
    rounds: 1,
    exchanges: 20,
    ledger: ledger::Effort {
        records: 5_000,
        seconds: 1,
    },
    calls: 100,
};

fn main() -> Result<()> {
    // As the agent does: what is measured in this process is its code.
    audit_agent::cli::memory::keep_freed();
    let cli = Cli::parse();
    match &cli.command {
        Some(Part::MockServer(options)) => mock::run(*options),
        Some(Part::Load(options)) => {
            println!("{}", serde_json::to_string(&load::run(*options)?)?);
            Ok(())
        }
        Some(Part::Wire) => {
            println!("{}", readers(&cli, &FULL)?);
            Ok(())
        }
        Some(Part::Ledger) => {
            println!("{}", ledger::table(FULL.ledger)?);
            Ok(())
        }
        Some(Part::Soak { seconds }) => {
            if !live::skip() {
                println!("{}", soak::run(*seconds)?);
            }
            Ok(())
        }
        Some(Part::Families) => {
            println!("{}", api_families(&cli, &FULL)?);
            Ok(())
        }
        Some(Part::Unwatched) => {
            if !live::skip() {
                println!("{}", unwatched_table(&cli, &FULL)?);
            }
            Ok(())
        }
        None => measure(&cli),
    }
}

fn measure(cli: &Cli) -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let scale = if cli.smoke { SMOKE } else { FULL };
    let mut text = conditions(cli.smoke)?;
    println!("{text}");
    for table in [loads, unwatched_table, replays, readers, the_log, api_families] {
        let table = table(cli, &scale)?;
        println!("{table}");
        text = text + "\n" + &table;
    }
    if let Some(path) = &cli.report {
        std::fs::write(path, text).with_context(|| format!("writing {path:?}"))?;
    }
    Ok(())
}

/// The machine and the effort, without which no figure means anything.
fn conditions(smoke: bool) -> Result<String> {
    let cpus = std::thread::available_parallelism()?;
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("unknown");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kind = if smoke {
        "a smoke run: the figures mean nothing"
    } else {
        "medians over alternating runs"
    };
    Ok(format!(
        "{cpus} cores, {}, Linux {}; {kind}.\n",
        model.trim_start_matches(['\t', ' ', ':']),
        kernel.trim()
    ))
}

fn loads(cli: &Cli, scale: &Scale) -> Result<String> {
    let arms = Arm::available();
    let mut table = report::Loads::default();
    let wanted = |name: &str| cli.only.as_deref().is_none_or(|only| name.contains(only));
    for case in CASES.iter().filter(|case| wanted(case.name)) {
        table.add(case.name, case.stream, &case.run(&arms, scale.loads)?);
    }
    for case in tls::CASES
        .iter()
        .filter(|case| tls::available() && wanted(case.name))
    {
        table.add(case.name, false, &case.run(&arms, scale.loads)?);
    }
    Ok(table.text().into())
}

fn unwatched_table(_: &Cli, scale: &Scale) -> Result<String> {
    let mut table = String::from(
        "| write + read of 64 bytes by an unwatched process | alone, a call | empty programs add | audit-agent adds \
         | times the floor |\n|---|--:|--:|--:|--:|\n",
    );
    for kind in Kind::ALL {
        table += &unwatched::cost(kind, scale.pairs, scale.rounds)?.line(kind);
    }
    Ok(table)
}

fn readers(_: &Cli, scale: &Scale) -> Result<String> {
    wire::table(scale.exchanges, scale.rounds)
}

fn the_log(_: &Cli, scale: &Scale) -> Result<String> {
    ledger::table(scale.ledger)
}

fn api_families(_: &Cli, scale: &Scale) -> Result<String> {
    families::tables(scale.calls, scale.rounds)
}

/// A failure here is shown in the table and does not take the other figures away.
fn replays(_: &Cli, scale: &Scale) -> Result<String> {
    let mut table = String::from(
        "| replay on one core, signing included | records | bodies | events |\n|---|--:|--:|--:|\n",
    );
    for scene in SCENES {
        let summary: Result<replay::Summary> = scene.run(scale.capture_seconds, scale.repeat);
        match summary {
            Ok(summary) => table += &report::replay_line(scene.name, &summary),
            Err(error) => writeln!(table, "| {} | failed: {error:#} | | |", scene.name)?,
        }
    }
    Ok(table)
}
