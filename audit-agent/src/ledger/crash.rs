//! The log on a disk that loses power after every single step, with what was not synchronised lost, torn or zeroed.
//!
//! The model keeps each file twice, as the machine sees it and as the disk has it. A cut keeps names and contents that
//! were synchronised, and of the rest what its mode says.

use super::tests::NOW;
use super::*;
use crate::ledger::audit::{Asked, Finding, Verdict, audit};
use crate::ledger::disk::{Read, parent};
use crate::ledger::note::Checkpoint;
use crate::ledger::policy::Policy;
use crate::ledger::source::Files;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What becomes of that which was not synchronised.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    /// The process is killed: nothing is lost.
    Kill,
    /// All of it is lost.
    Lost,
    /// Half of what was appended is there, the names are.
    Torn,
    /// Names and lengths are there, the content is zeros.
    Zeros,
}

const CUTS: [Cut; 4] = [Cut::Kill, Cut::Lost, Cut::Torn, Cut::Zeros];

#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Steps so far, and the one that fails and every one after it.
    steps: u64,
    dies_at: Option<u64>,
    /// Steps that fail as if the disk were full.
    full: std::ops::Range<u64>,
    /// Each checkpoint that was ever to be seen.
    published: Vec<String>,
    /// The world at the moment before each segment was deleted.
    deletions: Vec<World>,
}

impl World {
    /// The machine after the cut, on again.
    fn after(&self, cut: Cut) -> Self {
        let names = if cut == Cut::Lost {
            &self.durable_names
        } else {
            &self.names
        };
        let inodes = self.inodes.iter().map(|inode| {
            let appended = inode.seen.len().saturating_sub(inode.durable.len());
            let content = match cut {
                Cut::Kill => inode.seen.clone(),
                Cut::Lost => inode.durable.clone(),
                Cut::Torn if inode.seen.starts_with(&inode.durable) => {
                    inode.seen[..inode.durable.len() + appended / 2].to_vec()
                }
                Cut::Torn => inode.durable.clone(),
                Cut::Zeros => [inode.durable.clone(), vec![0; appended]].concat(),
            };
            Inode {
                seen: content.clone(),
                durable: content,
            }
        });
        Self {
            inodes: inodes.collect(),
            names: names.clone(),
            durable_names: names.clone(),
            published: self.published.clone(),
            ..Self::default()
        }
    }

    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        if self.dies_at.is_some_and(|at| self.steps >= at) {
            return Err(io::Error::other("the power is gone"));
        }
        if self.full.contains(&self.steps) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn inode(&mut self, name: &str) -> &mut Inode {
        let at = *self.names.entry(name.into()).or_insert_with(|| {
            self.inodes.push(Inode::default());
            self.inodes.len() - 1
        });
        &mut self.inodes[at]
    }
}

/// One directory of the world.
#[derive(Clone, Debug)]
struct Model {
    world: Rc<RefCell<World>>,
    dir: &'static str,
}

impl Model {
    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }
}

impl Read for Model {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let world = self.world.borrow();
        Ok(world
            .names
            .get(&self.name(name))
            .map(|at| world.inodes[*at].seen.clone()))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() {
            self.name("")
        } else {
            self.name(dir) + "/"
        };
        let world = self.world.borrow();
        let inside = world.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        Ok(inside
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect())
    }
}

impl Disk for Model {
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        // A write that fails may have gone half of the way.
        let result = world.step();
        let name = self.name(name);
        let len = if result.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        world.inode(&name).seen.extend_from_slice(&bytes[..len]);
        result.map(|()| len)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        let result = world.step();
        let name = self.name(name);
        let len = if result.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        world.inode(&name).seen = bytes[..len].to_vec();
        result
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.step()?;
        let name = self.name(name);
        world.inode(&name).seen.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.step()?;
        let name = self.name(name);
        let inode = world.inode(&name);
        inode.durable = inode.seen.clone();
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.step()?;
        let at = world.names.remove(&self.name(from)).unwrap();
        world.names.insert(self.name(to), at);
        if to == store::CHECKPOINT {
            let note = String::from_utf8(world.inodes[at].seen.clone()).unwrap();
            world.published.push(note);
        }
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.step()?;
        if name.starts_with(store::RECORDS) {
            let before = world.clone();
            world.deletions.push(before);
        }
        world.names.remove(&self.name(name));
        Ok(())
    }

    fn make_dir(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        world.step()?;
        let inside = |name: &String| parent(name) == self.name(dir).trim_end_matches('/');
        world.durable_names.retain(|name, _| !inside(name));
        let names: Vec<(String, usize)> = world
            .names
            .iter()
            .filter(|(name, _)| inside(name))
            .map(|(name, at)| (name.clone(), *at))
            .collect();
        world.durable_names.extend(names);
        Ok(())
    }
}

mod retention;

/// Opens the log of `world` the way the agent does.
fn start(world: &Rc<RefCell<World>>) -> Result<Ledger<Model>, LogError> {
    let disk = |dir| Model {
        world: Rc::clone(world),
        dir,
    };
    let mut keys = disk("keys");
    let io = |source| LogError::Open {
        path: "keys".into(),
        source,
    };
    let epochs = match epoch::file::load(&keys, "test.example/log").map_err(io)? {
        Some(epochs) => epochs,
        None => {
            let first = tests::epochs();
            epoch::file::store(&mut keys, &first).map_err(io)?;
            first
        }
    };
    Ledger::on(Path::new("log"), disk("log"), keys, tests::key(), epochs, NOW).map(|(ledger, _)| ledger)
}

/// Commits `rounds` times, with a new epoch in each; gives the lines that were acknowledged as durable.
fn work(ledger: &mut Ledger<Model>, rounds: u64, acknowledged: &mut u64) -> Result<(), LogError> {
    for round in 1..=rounds {
        let now = NOW + round * epoch::NANOS;
        for body in tests::bodies(2) {
            ledger.submit(&body, now);
        }
        ledger.commit(now)?;
        *acknowledged = ledger.chain.seq();
    }
    ledger.close(NOW)?;
    *acknowledged = ledger.chain.seq();
    Ok(())
}

/// What an auditor finds who kept all these checkpoints.
fn check(disk: &Model, published: &[String]) -> Finding {
    let key = tests::key().verifier();
    let open = |note: &String| {
        let (checkpoint, note) = Checkpoint::open(note, &key).unwrap();
        (checkpoint.head, note)
    };
    let asked = Asked {
        kept: published.iter().map(open).collect(),
        key: key.clone(),
        policy: Policy::default(),
        first_line: None,
        newest_since: None,
    };
    audit(&mut Files::new(disk), &asked, &mut |_, _| {})
}

/// After a cut: the log opens, goes on, has every acknowledged line and contradicts no checkpoint that was ever seen.
fn holds(world: World, acknowledged: u64, what: &str) {
    let world = Rc::new(RefCell::new(world));
    let mut ledger = start(&world).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        ledger.chain.seq() >= acknowledged,
        "{what}: {acknowledged} lines were durable, {} are there",
        ledger.chain.seq()
    );
    work(&mut ledger, 1, &mut 0).unwrap_or_else(|error| panic!("{what}: {error}"));
    let finding = check(ledger.disk(), &world.borrow().published);
    assert!(
        matches!(finding.verdict, Verdict::Intact | Verdict::IntactWithGaps),
        "{what}: {finding:?}"
    );
    assert_eq!(finding.log.lost_first_line, None, "{what}: no log was lost");
    let mut secrets = ledger.keys.list("").unwrap();
    secrets.retain(|name| name.starts_with("epoch-"));
    assert_eq!(
        secrets.len(),
        1,
        "{what}: one secret is left, the newest: {secrets:?}"
    );
}

/// Runs `scene` on copies of `before`, cut after each step in each way.
fn cut_everywhere(before: &World, rounds: u64, cuts: &[Cut]) {
    let run = |dies_at| {
        let world = Rc::new(RefCell::new(World {
            dies_at,
            ..before.clone()
        }));
        let mut acknowledged = 0;
        let result = start(&world).and_then(|mut ledger| work(&mut ledger, rounds, &mut acknowledged));
        let world = world.borrow().clone();
        (world, acknowledged, result.is_ok())
    };
    let (whole, ..) = run(None);
    for at in 1..=whole.steps {
        let (world, acknowledged, finished) = run(Some(at));
        assert!(!finished, "step {at} was not the end");
        for cut in cuts.iter().copied() {
            holds(
                world.after(cut),
                acknowledged,
                &format!("step {at} of {}, {cut:?}", whole.steps),
            );
        }
    }
}

#[test]
fn a_new_log_survives_a_cut_after_every_step() {
    cut_everywhere(&World::default(), 3, &CUTS);
}

#[test]
fn a_log_that_goes_on_survives_a_cut_after_every_step() {
    let world = Rc::new(RefCell::new(World::default()));
    work(&mut start(&world).unwrap(), 2, &mut 0).unwrap();
    let before = World {
        steps: 0,
        ..world.borrow().clone()
    };
    cut_everywhere(&before, 2, &CUTS);
}

#[test]
fn the_step_to_the_next_segment_survives_a_cut_after_every_step() {
    let world = Rc::new(RefCell::new(World::default()));
    let mut ledger = start(&world).unwrap();
    while ledger.chain.seq() < store::SEGMENT - 3 {
        ledger.submit(&tests::bodies(2)[1], NOW);
    }
    ledger.close(NOW).unwrap();
    drop(ledger);
    let before = World {
        steps: 0,
        ..world.borrow().clone()
    };
    cut_everywhere(&before, 1, &[Cut::Kill, Cut::Lost]);
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_no_line() {
    for from in 1..40 {
        let world = Rc::new(RefCell::new(World::default()));
        let mut ledger = start(&world).unwrap();
        let begun = world.borrow().steps;
        world.borrow_mut().full = begun + from..begun + from + 5;
        for round in 1..=3 {
            let now = NOW + round * epoch::NANOS;
            tests::bodies(2)
                .iter()
                .for_each(|body| drop(ledger.submit(body, now)));
            let _ = ledger.commit(now);
        }
        while ledger.close(NOW).is_err() {}
        let lines = ledger.chain.seq();
        drop(ledger);
        let world = world.borrow().after(Cut::Lost);
        holds(world, lines, &format!("full from step {from}"));
    }
}
