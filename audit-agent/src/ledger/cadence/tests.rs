use super::*;
use crate::event::{HostFact, Input, StartFact};
use crate::ledger::audit::{Asked, Finding, Verdict, audit};
use crate::ledger::chain::{Chain, Line};
use crate::ledger::disk::{DirDisk, Disk};
use crate::ledger::epoch::Epochs;
use crate::ledger::keys::LogKey;
use crate::ledger::policy::Policy;
use crate::ledger::source::Files;
use crate::ledger::store::{CHECKPOINT, segment};
use crate::pipeline::{Options, Output, Pipeline};
use crate::record::hash::{Algorithm, Hasher};
use crate::record::{AgentStart, AgentStop, Body, Gap, Heartbeat, Recovery, Retention};
use proptest::prelude::*;

const NAME: &str = "test.example/log";
const NOW: u64 = 1_790_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn chain() -> Chain {
    let key = LogKey::new(NAME, &[7; 32]);
    Chain::new(key, Epochs::new(NAME, 1, [1; 32].into()))
}

/// What the check of a log says that consists of these.
fn check(chain: &Chain, lines: &[Line]) -> Finding {
    let dir = tempfile::tempdir().unwrap();
    let mut disk = DirDisk::new(dir.path());
    disk.make_dir("records").unwrap();
    let bytes: Vec<u8> = lines
        .iter()
        .flat_map(|line| [line.bytes.as_slice(), b"\n"].concat())
        .collect();
    disk.write(&segment(0), &bytes).unwrap();
    disk.write(CHECKPOINT, chain.checkpoint().to_string().as_bytes())
        .unwrap();
    let asked = Asked {
        key: LogKey::new(NAME, &[7; 32]).verifier(),
        policy: Policy::default(),
        kept: Vec::new(),
        first_line: None,
        newest_since: None,
    };
    audit(&mut Files::new(disk), &asked, &mut |_, _| {})
}

/// Records at seconds after the first.
fn log(records: &[(u64, Body)]) -> Finding {
    let (mut chain, mut lines) = (chain(), Vec::new());
    for (at, body) in records {
        chain.sign(body, NOW + at * SECOND, &mut lines);
    }
    check(&chain, &lines)
}

fn start() -> Body {
    Body::AgentStart(AgentStart {
        heartbeat_s: 60,
        ..AgentStart::default()
    })
}

fn beat() -> Body {
    Body::Heartbeat(Heartbeat {
        heartbeat_s: 60,
        ..Heartbeat::default()
    })
}

fn stop() -> Body {
    Body::AgentStop(AgentStop::default())
}

fn gap(place: &str) -> Body {
    Body::Gap(Gap {
        place: place.into(),
        ..Gap::default()
    })
}

fn silences(records: &[(u64, Body)]) -> Vec<u64> {
    let finding = log(records);
    assert_eq!(finding.log.fault, None);
    assert_eq!(finding.log.silence_count, finding.log.silences.len() as u64);
    finding.log.silences.iter().map(|silence| silence.seq).collect()
}

#[test]
fn three_heartbeats_that_did_not_come_are_a_silence_and_change_the_verdict() {
    let finding = log(&[(0, start()), (60, beat()), (241, beat())]);
    let silence = Silence {
        from: "2026-09-21T14:14:20.000000000Z".into(),
        until: "2026-09-21T14:17:21.000000000Z".into(),
        seq: 3,
    };
    assert_eq!(finding.log.silences, [silence]);
    assert_eq!(finding.verdict, Verdict::IntactWithGaps);
    assert!(
        finding.reason.contains("no record says why"),
        "{}",
        finding.reason
    );
    let finding = log(&[(0, start()), (60, beat()), (240, beat())]);
    assert_eq!((finding.verdict, finding.log.silence_count), (Verdict::Intact, 0));
}

#[test]
fn a_stop_in_order_may_last() {
    let records = [(0, start()), (1, stop()), (90_000, start()), (90_060, beat())];
    assert_eq!(silences(&records), [0; 0]);
    let records = [(0, start()), (1, stop()), (2, retention()), (90_000, start())];
    assert_eq!(silences(&records), [0; 0]);
}

fn retention() -> Body {
    Body::Retention(Retention::default())
}

#[test]
fn a_word_behind_the_hole_explains_it_and_only_that_one() {
    for word in [
        gap("agent_down"),
        gap("sink"),
        gap("clock"),
        Body::Recovery(Recovery::default()),
    ] {
        let records = [(0, start()), (900, word.clone()), (901, beat())];
        assert_eq!(silences(&records), [0; 0], "{word:?}");
        // With a hand-over and a record of the log's own before it.
        let records = [(0, start()), (1800, retention()), (1800, word.clone())];
        assert_eq!(silences(&records), [0; 0], "{word:?}");
        let records = [(0, start()), (900, beat()), (901, word.clone())];
        assert_eq!(silences(&records), [2], "{word:?} came too late");
        let records = [(0, start()), (900, word), (1800, beat())];
        assert_eq!(silences(&records).len(), 1, "it explains one hole");
    }
    let records = [(0, start()), (600, gap("ring_buffer"))];
    assert_eq!(silences(&records), [2], "a loss is no reason to be silent");
    let records = [(0, start()), (600, retention())];
    assert_eq!(
        silences(&records),
        [2],
        "and nothing explains what nothing follows"
    );
}

#[test]
fn a_clock_that_was_set_back_hides_no_silence_behind_it() {
    let records = [(9000, start()), (9060, beat()), (10, gap("clock")), (600, beat())];
    assert_eq!(silences(&records).len(), 1);
}

#[test]
fn records_of_one_moment_come_in_any_order() {
    let records = [(300, start()), (100, gap("decode")), (310, beat())];
    assert_eq!(silences(&records), [0; 0]);
}

#[test]
fn a_log_that_says_no_cadence_is_not_judged() {
    let beat = || Body::Inventory(Box::default());
    assert_eq!(silences(&[(0, beat()), (9000, beat())]), [0; 0]);
}

#[test]
fn a_report_lists_so_many_silences_and_counts_all() {
    let count = limits::SILENCES as u64 + 5;
    let mut records = vec![(0, start())];
    records.extend((1..=count).map(|n| (n * 200, beat())));
    let log = log(&records).log;
    assert_eq!((log.silences.len(), log.silence_count), (limits::SILENCES, count));
}

/// Runs of an agent: how often it beats, its ticks and clock, each as a step of time; and how long it is stopped after.
#[derive(Clone, Debug)]
struct Run {
    heartbeat_s: u64,
    /// Milliseconds, which an agent never needs 20,000 of, and by how many seconds the clock was set then.
    ticks: Vec<(u64, i64)>,
    stopped_s: u64,
}

fn a_run() -> impl Strategy<Value = Run> {
    let set = prop_oneof![9 => Just(0), 1 => -5000..5000_i64];
    let ticks = prop::collection::vec((1..20_000_u64, set), 0..60);
    (1..600_u64, ticks, 0..100_000_u64).prop_map(|(heartbeat_s, ticks, stopped_s)| Run {
        heartbeat_s,
        ticks,
        stopped_s,
    })
}

/// What an agent makes of the runs, into one log.
fn agent(runs: &[Run]) -> Finding {
    let (mut chain, mut lines) = (chain(), Vec::new());
    let (mut boot_ns, mut unix_ns) = (SECOND, NOW);
    for run in runs {
        let mut pipeline = Pipeline::new(Options {
            content: Default::default(),
            filter: Default::default(),
            hasher: Hasher::new([0; 32].into(), Algorithm::Sha256),
            heartbeat_ns: run.heartbeat_s * SECOND,
            verifier_key: String::new(),
        });
        let mut feed = |fact| {
            let mut out = Vec::new();
            pipeline.feed(Input::Host(fact), &mut out);
            for output in out {
                if let Output::Record { body, unix_ns } = output {
                    chain.sign(&body, unix_ns, &mut lines);
                }
            }
        };
        feed(HostFact::Start(StartFact {
            boot_ns,
            unix_ns,
            ..StartFact::default()
        }));
        for (millis, set_s) in &run.ticks {
            boot_ns += millis * 1_000_000;
            unix_ns = (unix_ns + millis * 1_000_000).saturating_add_signed(set_s * 1_000_000_000);
            feed(HostFact::Clock { boot_ns, unix_ns });
            feed(HostFact::Tick { boot_ns });
        }
        feed(HostFact::Stop {
            boot_ns,
            reason: "signal 15".into(),
        });
        boot_ns += run.stopped_s * SECOND;
        unix_ns += run.stopped_s * SECOND;
    }
    check(&chain, &lines)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_agent_that_stops_in_order_is_never_called_silent(runs in prop::collection::vec(a_run(), 1..5)) {
        let finding = agent(&runs);
        prop_assert_eq!(finding.log.fault, None);
        prop_assert_eq!(finding.log.silences, Vec::new());
    }

    #[test]
    fn an_agent_that_was_held_for_long_is(before in 0..20usize, heartbeat_s in 1..60u64, held_s in 0..10_000u64) {
        let held = 3 * heartbeat_s.max(10) * 1000 + 1 + held_s * 1000;
        let mut ticks = vec![(1000, 0); before];
        ticks.push((held + heartbeat_s * 1000, 0));
        let finding = agent(&[Run { heartbeat_s, ticks, stopped_s: 0 }]);
        prop_assert_eq!(finding.log.silence_count, 1);
    }
}
