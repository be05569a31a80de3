use super::client::Client;
use super::cosigned::Cosigned;
use super::state::Witness;
use super::*;
use crate::ledger::disk::DirDisk;
use crate::ledger::http::server;
use crate::ledger::keys::{Keys, LogKey};
use crate::ledger::merkle::{leaf, tree::Tree};
use crate::ledger::policy::Policy;
use crate::ledger::{CHECKPOINT_NS, Ledger};
use crate::record::{Body, Heartbeat};
use proptest::prelude::*;
use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

const NOW: u64 = 1_790_000_000;

fn log() -> LogKey {
    LogKey::new("test.example/log", &[7; 32])
}

fn witness(dir: &Path) -> Witness<DirDisk> {
    let key = LogKey::new("witness.example", &[3; 32]);
    Witness::new(key, vec![log().verifier()], DirDisk::new(dir), NOW)
}

struct Leaves;

impl proof::Hashes for Leaves {
    type Error = Infallible;

    fn perfect(&mut self, level: u32, index: u64) -> Result<Hash, Infallible> {
        Ok(root(index << level, (index + 1) << level))
    }
}

fn root(from: u64, to: u64) -> Hash {
    let mut tree = Tree::default();
    (from..to).for_each(|n| tree.push(leaf(&n.to_be_bytes()), &mut Vec::new()));
    tree.root()
}

fn asks(old: u64, size: u64) -> AddCheckpoint {
    let head = Head {
        size,
        root: root(0, size),
    };
    AddCheckpoint {
        old,
        proof: proof::consistency(old, size, &mut Leaves).unwrap(),
        note: Checkpoint {
            origin: log().name().into(),
            head,
        }
        .note(&log())
        .to_string(),
    }
}

fn status(witness: &mut Witness<DirDisk>, body: &str) -> (u16, String) {
    let response = witness.add_checkpoint(body.as_bytes(), NOW);
    (response.status, String::from_utf8(response.body).unwrap())
}

#[test]
fn each_answer_of_the_protocol_is_given_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = witness(dir.path());
    let first = status(&mut w, &asks(0, 5).body());
    assert_eq!(first.0, 200);
    let mut note = Note::parse(&asks(0, 5).note).unwrap();
    note.signatures
        .push(super::super::note::NoteSignature::parse(first.1.trim_end()).unwrap());
    assert_eq!(note.signed_by(&w.verifier()), Ok(NOW));
    assert_eq!(
        status(&mut w, &asks(0, 9).body()),
        (409, "5\n".into()),
        "not from the last size"
    );
    assert_eq!(status(&mut w, &asks(5, 9).body()).0, 200);
    assert_eq!(
        status(&mut w, &asks(9, 9).body()).0,
        200,
        "the same again, with a new time"
    );
    assert_eq!(status(&mut w, &asks(9, 5).body()).0, 400, "backwards");
    let mut fork = asks(9, 9);
    fork.note = Checkpoint {
        origin: log().name().into(),
        head: Head {
            size: 9,
            root: [1; 32],
        },
    }
    .note(&log())
    .to_string();
    assert_eq!(
        status(&mut w, &fork.body()),
        (409, "9\n".into()),
        "the same size with another root"
    );
    let mut unproved = asks(9, 12);
    unproved.proof[0][0] ^= 1;
    assert_eq!(status(&mut w, &unproved.body()).0, 422);
    let mut other = asks(9, 12);
    other.note = other.note.replace("test.example", "other.example");
    assert_eq!(status(&mut w, &other.body()).0, 404);
    let mut unsigned = asks(9, 12);
    let stranger = LogKey::new(log().name(), &[8; 32]);
    unsigned.note = Checkpoint {
        origin: log().name().into(),
        head: Head {
            size: 12,
            root: root(0, 12),
        },
    }
    .note(&stranger)
    .to_string();
    assert_eq!(status(&mut w, &unsigned.body()).0, 403);
    assert_eq!(status(&mut w, "old 1").0, 400);
    assert_eq!(
        status(&mut w, &asks(9, 12).body()).0,
        200,
        "what was refused left no trace"
    );
}

#[test]
fn a_witness_that_was_ended_remembers() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status(&mut witness(dir.path()), &asks(0, 9).body()).0, 200);
    assert_eq!(
        status(&mut witness(dir.path()), &asks(0, 5).body()),
        (409, "9\n".into())
    );
}

#[test]
fn a_witness_without_a_memory_signs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = witness(&dir.path().join("missing"));
    assert_eq!(status(&mut w, &asks(0, 5).body()).0, 500);
}

#[test]
fn silence_is_said_once_until_the_log_grows_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut w = witness(dir.path());
    assert!(w.silent(NOW + 299, 300).is_empty());
    assert_eq!(w.silent(NOW + 300, 300), ["test.example/log"]);
    assert!(w.silent(NOW + 301, 300).is_empty());
    w.add_checkpoint(asks(0, 5).body().as_bytes(), NOW + 400);
    assert!(w.silent(NOW + 500, 300).is_empty());
    w.add_checkpoint(asks(5, 5).body().as_bytes(), NOW + 600);
    assert_eq!(
        w.silent(NOW + 700, 300),
        ["test.example/log"],
        "the same checkpoint again is no sign of life"
    );
}

#[test]
fn an_agent_s_checkpoints_are_cosigned_by_a_quorum() {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::load_or_create(&dir.path().join("keys"), "test.example/log").unwrap();
    let verifier = keys.log.verifier();
    let at = |n: u64| NOW * 1_000_000_000 + n * CHECKPOINT_NS;
    let (mut ledger, _) = Ledger::open(&dir.path().join("log"), keys, at(0)).unwrap();
    let mut policy = String::new();
    let mut keep = Vec::new();
    for number in 1..=3_u8 {
        let state = tempfile::tempdir().unwrap();
        let key = LogKey::new(&format!("witness.example/{number}"), &[number; 32]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let vkey = key.verifier().cosigner();
        policy += &format!(
            "witness w{number} {vkey} http://{}\n",
            listener.local_addr().unwrap()
        );
        if number == 3 {
            // Nobody answers there: two of three are enough.
            continue;
        }
        let w = Arc::new(Mutex::new(Witness::new(
            key,
            vec![verifier.clone()],
            DirDisk::new(state.path()),
            NOW,
        )));
        keep.push(state);
        std::thread::spawn(move || {
            server::serve(&listener, move |request| {
                w.lock().unwrap().add_checkpoint(&request.body, NOW)
            })
        });
    }
    let policy = Policy::parse(&(policy + "group two 2 w1 w2 w3\nquorum two\n")).unwrap();
    let mut client = Client::new(&dir.path().join("log"), verifier.clone(), policy.clone());
    assert_eq!(client.round().unwrap(), None, "there is no checkpoint yet");
    let disk = || DirDisk::new(&dir.path().join("log"));
    let mut kept = Cosigned::new(disk(), verifier.clone(), policy.clone());
    for round in 1..=3 {
        (0..100).for_each(|_| drop(ledger.submit(&Body::Heartbeat(Heartbeat::default()), at(round))));
        ledger.commit(at(round)).unwrap();
        let said = client.round().unwrap().unwrap();
        assert_eq!(said.size, ledger.signed(), "{said:?}");
        kept.accept(&said.cosigned.unwrap()).unwrap();
        assert_eq!(said.refused.keys().collect::<Vec<_>>(), ["w3"]);
    }
    let cosigned = std::fs::read_to_string(dir.path().join("log/checkpoint.cosigned")).unwrap();
    let (checkpoint, note) = Checkpoint::open(&cosigned, &verifier).unwrap();
    assert_eq!(
        (checkpoint.head.size, policy.cosigned(&note).unwrap().len()),
        (301, 2)
    );
    let mut again = Client::new(&dir.path().join("log"), verifier, policy);
    assert!(
        again.round().unwrap().unwrap().cosigned.is_some(),
        "a client that forgot is told the size"
    );
}

proptest! {
    #[test]
    fn hostile_bodies_do_no_harm(bytes in any::<Vec<u8>>(), text in any::<String>()) {
        let logs = BTreeMap::from([(log().name().to_owned(), log().verifier())]);
        prop_assert!(read(&bytes, &logs).is_err());
        let body = String::from("old 0\n\n") + &text;
        prop_assert!(read(body.as_bytes(), &logs).is_err());
    }

    #[test]
    fn requests_are_read_back(old in 0u64..40, more in 0u64..40) {
        let asked = asks(old, old + more);
        prop_assert_eq!(AddCheckpoint::parse(&asked.body()), Some(asked));
    }
}
