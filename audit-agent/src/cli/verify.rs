//! `audit-agent verify`: checks a log with its public key alone.

use super::log::{Opened, open};
use super::verifier;
use crate::host::clock;
use crate::ledger::audit::{Asked, Finding, Verdict, audit};
use crate::ledger::merkle::proof::Head;
use crate::ledger::note::{Checkpoint, Note};
use crate::ledger::policy::Policy;
use anyhow::Context;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How the finding is shown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Output {
    #[default]
    Text,
    Json,
}

/// Exit status: 0 intact, 1 tampered, 2 unreadable, 3 intact with gaps, 4 records behind the checkpoint,
/// 5 truncated, 6 policy not met, 7 another log or key.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The log: its directory, an http:// address, or a file of its lines from the first on
    log: String,
    /// The log's public key: the text of keys/log.pub, or a file that holds it
    #[arg(long)]
    key: String,
    /// A file that says which witnesses have to have cosigned
    #[arg(long)]
    policy: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere; the log has to continue it (repeatable)
    #[arg(long)]
    checkpoint: Vec<PathBuf>,
    /// SHA-256 of the log's first line, as an earlier check printed it
    #[arg(long)]
    first_line: Option<String>,
    /// The newest cosignature may be so many seconds old
    #[arg(long)]
    max_age: Option<u64>,
    /// How the finding is shown
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    crate::privilege::reader(args.log.contains("://"));
    let asked = asked(args)?;
    let bar = std::io::stderr().is_terminal();
    let mut progress = |done: u64, all: u64| {
        if bar {
            show_progress(done, all);
        }
    };
    let finding = match open(&args.log)? {
        Opened::Files(mut files) => audit(&mut files, &asked, &mut progress),
        Opened::Remote(mut remote) => audit(&mut remote, &asked, &mut progress),
        Opened::Lines(mut lines) => audit(&mut lines, &asked, &mut progress),
    };
    if bar {
        show_progress(0, 0);
    }
    match args.output {
        Output::Json => println!("{}", serde_json::to_string(&finding)?),
        Output::Text => print(&finding),
    }
    Ok(ExitCode::from(finding.verdict.exit_status()))
}

fn asked(args: &Args) -> anyhow::Result<Asked> {
    let key = verifier(&args.key)?;
    let policy = match &args.policy {
        Some(path) => Policy::parse(&text(path)?).with_context(|| format!("in {}", path.display()))?,
        None => Policy::default(),
    };
    let kept = args
        .checkpoint
        .iter()
        .map(|path| -> anyhow::Result<(Head, Note)> {
            let opened = Checkpoint::open(&text(path)?, &key);
            let (checkpoint, note) = opened.with_context(|| format!("the checkpoint {}", path.display()))?;
            Ok((checkpoint.head, note))
        });
    Ok(Asked {
        kept: kept.collect::<anyhow::Result<_>>()?,
        policy,
        first_line: args.first_line.clone(),
        newest_since: args
            .max_age
            .map(|age| (clock::unix_ns() / 1_000_000_000).saturating_sub(age)),
        key,
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[expect(clippy::print_stderr, reason = "a progress bar is for a person at a terminal")]
fn show_progress(done: u64, all: u64) {
    const WIDTH: u64 = 40;
    match (done * WIDTH).checked_div(all) {
        Some(full) => {
            let bar: String = (0..WIDTH).map(|at| if at < full { '#' } else { '.' }).collect();
            eprint!("\r{bar} {done}/{all} records");
        }
        None => eprint!("\r{:70}\r", ""),
    }
}

fn print(finding: &Finding) {
    let log = &finding.log;
    let times = [&log.first_time, &log.last_time].map(|time| time.as_deref().unwrap_or("-"));
    println!("log        {}", finding.origin);
    println!("records    {} from {} to {}", log.records, times[0], times[1]);
    for (kind, count) in &log.by_type {
        println!("           {count:>8} {kind}");
    }
    for (place, count) in &log.gaps {
        println!("           {count:>8} declared gaps: {place}");
    }
    if let Some(first) = &log.lost_first_line {
        println!("before     a log with first line {first} was signed with this key, and was gone");
    }
    for silence in &log.silences {
        println!(
            "silence    from {} to {}, before sequence number {}",
            silence.from, silence.until, silence.seq
        );
    }
    if finding.retired > 0 {
        println!(
            "deleted    {} records, under a signed retention record",
            finding.retired
        );
    }
    if let Some(root) = &finding.root {
        println!("checkpoint {} records, root {root}", finding.signed);
    }
    if !finding.cosigned_by.is_empty() {
        println!(
            "witnesses  {} cosigned {} records",
            finding.cosigned_by.join(", "),
            finding.cosigned
        );
    }
    if let Some(first) = &finding.first_line {
        println!("first line {first}");
    }
    let at = finding
        .first_bad_seq
        .map(|seq| format!(" at sequence number {seq}"))
        .unwrap_or_default();
    let word = match finding.verdict {
        Verdict::Intact => "INTACT",
        Verdict::IntactWithGaps => "INTACT, with gaps",
        Verdict::UnverifiedTail => "INTACT, but nobody vouches for its end",
        Verdict::Tampered => "TAMPERED",
        Verdict::Truncated => "TRUNCATED",
        Verdict::PolicyUnmet => "POLICY NOT MET",
        Verdict::WrongKey => "ANOTHER LOG OR KEY",
        Verdict::Unreadable => "UNREADABLE",
    };
    let reason = if finding.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", finding.reason)
    };
    println!("{word}{at}{reason}");
}
