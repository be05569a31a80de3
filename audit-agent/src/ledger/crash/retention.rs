//! Deletion under a retention record, cut after every step.

use super::*;
use crate::ledger::line::claim;
use crate::ledger::retention::Keep;
use crate::ledger::store::{CHECKPOINT, KEPT, SEGMENT, segment, segments};
use crate::record::{AgentStop, Retention};
use std::collections::BTreeSet;

/// Two whole segments over several epochs, and the beginning of a third.
fn three_segments() -> World {
    let world = Rc::new(RefCell::new(World::default()));
    let mut ledger = start(&world).unwrap();
    let (body, mut now) = (&tests::bodies(2)[1], NOW - 3 * epoch::NANOS);
    while ledger.chain.seq() < 2 * SEGMENT + 3 {
        if ledger.chain.seq().is_multiple_of(3000) {
            now += epoch::NANOS;
        }
        ledger.submit(body, now.min(NOW));
    }
    ledger.close(NOW).unwrap();
    drop(ledger);
    let world = world.borrow().clone();
    World { steps: 0, ..world }
}

/// Opens the log and deletes what may go: all but the last two segments.
fn retire(world: &Rc<RefCell<World>>) -> Result<Ledger<Model>, LogError> {
    let mut ledger = start(world)?;
    ledger.keep(Keep::days(0, false));
    ledger.commit(NOW)?;
    ledger.close(NOW)?;
    Ok(ledger)
}

fn model(world: &World) -> Model {
    Model {
        world: Rc::new(RefCell::new(world.clone())),
        dir: "log",
    }
}

/// What a power cut at the moment of a deletion leaves says that it was allowed: a line, under the checkpoint.
fn allowed(before: &World) {
    let disk = model(&before.after(Cut::Lost));
    let note = String::from_utf8(disk.read(CHECKPOINT).unwrap().unwrap()).unwrap();
    let (checkpoint, _) = Checkpoint::open(&note, &tests::key().verifier()).unwrap();
    let last = disk.read(&segment(2 * SEGMENT)).unwrap().unwrap();
    let said = last.split(|byte| *byte == b'\n').any(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        let covered = line["seq"].as_u64().is_some_and(|seq| seq < checkpoint.head.size);
        covered && line["retired_before"].as_u64() == Some(SEGMENT)
    });
    assert!(said, "no durable retention record under a checkpoint");
    let kept = disk.read(KEPT).unwrap().unwrap_or_default();
    let lines = lost_lines(&disk);
    assert!(
        kept.ends_with(&lines) && !lines.is_empty(),
        "the keys would be lost"
    );
}

/// The lines of the first segment that have to stay.
fn lost_lines(disk: &Model) -> Vec<u8> {
    let bytes = disk.read(&segment(0)).unwrap().unwrap_or_default();
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let stays =
        |line: &&[u8]| claim(line).is_ok_and(|claim| ["epoch", "retention"].contains(&&*claim.record_type));
    lines.filter(stays).flatten().copied().collect()
}

#[test]
fn a_deletion_survives_a_cut_after_every_step_and_is_finished_by_the_next_start() {
    let before = three_segments();
    let run = |dies_at| {
        let world = Rc::new(RefCell::new(World {
            dies_at,
            ..before.clone()
        }));
        let done = retire(&world).is_ok();
        let world = world.borrow().clone();
        (world, done)
    };
    let (whole, done) = run(None);
    assert!(done && whole.deletions.len() == 1);
    let kept = lost_lines(&model(&before));
    let mut judged = BTreeSet::new();
    for at in 1..=whole.steps {
        let (world, done) = run(Some(at));
        assert!(!done, "step {at} was not the end");
        world.deletions.iter().for_each(allowed);
        for cut in CUTS {
            let what = format!("step {at} of {}, {cut:?}", whole.steps);
            let world = Rc::new(RefCell::new(world.after(cut)));
            let there = segments(&model(&world.borrow())).unwrap().contains(&0);
            let ledger = retire(&world).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(
                !segments(ledger.disk()).unwrap().contains(&0),
                "{what}: not finished"
            );
            assert_eq!(ledger.disk().read(KEPT).unwrap().as_ref(), Some(&kept), "{what}");
            world.borrow().deletions.iter().for_each(allowed);
            // A check of thousands of signatures: once for each content that the cuts lead to.
            let content = ledger.disk().read(&segment(2 * SEGMENT)).unwrap();
            let published = world.borrow().published.clone();
            if judged.insert((there, content, published.clone())) {
                let finding = check(ledger.disk(), &published);
                let intact = matches!(finding.verdict, Verdict::Intact | Verdict::IntactWithGaps);
                assert!(intact, "{what}: {finding:?}");
            }
        }
    }
}

#[test]
fn what_a_cut_leaves_of_a_deletion_verifies_before_the_next_start_too() {
    let before = three_segments();
    let whole = Rc::new(RefCell::new(before.clone()));
    retire(&whole).unwrap();
    let world = whole.borrow().deletions[0].clone();
    // The copy is there and the segment still is; then the segment is not.
    for gone in [false, true] {
        let mut world = world.after(Cut::Lost);
        if gone {
            world.names.remove(&format!("log/{}", segment(0)));
        }
        assert!(!world.published.is_empty());
        let finding = check(&model(&world), &world.published);
        assert_eq!(finding.retired, if gone { SEGMENT } else { 0 });
        // The run before was killed.
        assert_eq!(finding.verdict, Verdict::IntactWithGaps, "{finding:?}");
    }
}

#[test]
fn a_run_ends_with_its_stop_record_and_not_with_a_deletion() {
    let world = Rc::new(RefCell::new(three_segments()));
    let mut ledger = start(&world).unwrap();
    ledger.keep(Keep::days(0, false));
    ledger.submit(&Body::Retention(Retention::default()), NOW);
    ledger.submit(&Body::AgentStop(AgentStop::default()), NOW);
    ledger.close(NOW).unwrap();
    let bytes = ledger.disk().read(&segment(2 * SEGMENT)).unwrap().unwrap();
    let last = bytes.split(|byte| *byte == b'\n').rev().nth(1).unwrap();
    assert_eq!(claim(last).unwrap().record_type, "agent_stop");
    assert!(
        segments(ledger.disk()).unwrap().contains(&0),
        "it goes at the next start"
    );
}
