mod commands;

use super::*;
use crate::call::Choice;
use crate::content::age::Identity;
use crate::content::request::{Request, ask};
use crate::content::{age, tar};
use crate::http::{BodyEnd, BodyState};
use crate::pipeline::exchange::Finished;
use crate::record::AgentStop;
use crate::record::hash::hex;
use crate::record::inference::Inference;
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;

const SECOND: u64 = 1_000_000_000;

struct Bench {
    place: tempfile::TempDir,
    reader: Identity,
    store: Store,
    now: u64,
}

impl Bench {
    fn new(mode: Mode, keep: Limits) -> Self {
        let mut random = File::open("/dev/urandom").unwrap();
        let reader = Identity::generate(&mut random).unwrap();
        let place = tempfile::tempdir().unwrap();
        let settings = Settings {
            mode,
            user_salts: true,
            recipients: vec![reader.recipient()],
            most_bytes: 1 << 22,
            keep,
            hold: false,
        };
        let store = Store::open(&place.path().join("content"), settings).unwrap();
        Self {
            place,
            reader,
            store,
            now: 1_700_000_000 * SECOND,
        }
    }

    /// One exchange through the store, as the pipeline hands it over.
    fn exchange(&mut self, user: &str, prompt: &str) {
        let mut finished = finished();
        finished.call.prompt_canonical = Some(serde_json::to_vec(prompt).unwrap());
        finished.call.completion_canonical = Some(Vec::new());
        finished.call.choices = vec![Choice {
            text: format!("to {prompt}"),
            ..Choice::default()
        }];
        self.store.content(Box::new(Draft::of(&finished)));
        self.store
            .record(Box::new(Body::Inference(Box::new(inference(user)))), self.now);
    }

    /// What becomes of it with the next commit.
    fn commit(&mut self) -> Vec<Body> {
        self.now += SECOND;
        self.store.flush(self.now);
        let ready = self.store.ready();
        self.store.committed();
        ready.into_iter().map(|(body, _)| *body).collect()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join("content").join(name)
    }

    /// Reads as `docs/content.md` says.
    fn read(&self, content: &crate::record::content::Content) -> Result<String, AgeError> {
        let key = self
            .path("keys")
            .join(format!("{}.age", content.key_id.as_deref().unwrap()));
        let wrapped = std::fs::read(key).unwrap_or_default();
        let text = age::decrypt(&wrapped, std::slice::from_ref(&self.reader))?;
        let identities = Identity::parse_file(std::str::from_utf8(&text).unwrap())?;
        let segment = self.path("segments").join(content.file.as_deref().unwrap());
        let mut segment = File::open(segment).unwrap();
        let member = tar::member(&mut segment, content.member.as_deref().unwrap(), 1 << 30)
            .unwrap()
            .unwrap();
        let lines = age::decrypt(&member, &identities)?;
        let lines = String::from_utf8(lines.to_vec()).unwrap();
        let ours = lines
            .lines()
            .find(|line| line.contains(content.address.as_deref().unwrap()));
        Ok(ours.unwrap().to_owned())
    }
}

fn finished() -> Finished {
    let end = BodyEnd {
        state: BodyState::Complete,
        wire_bytes: 1,
        body_bytes: 1,
        missed_bytes: 0,
        body_sha256: [0; 32],
    };
    Finished {
        call: Default::default(),
        number: (0, 0),
        prompt_hash: None,
        protocol: Default::default(),
        head_partial: false,
        method: String::new(),
        path: String::new(),
        api_key_hash: None,
        user: None,
        user_agent: None,
        request_id: None,
        traceparent: None,
        status: Some(200),
        request: end,
        request_part: None,
        response: end,
        start_ns: 0,
        asked_ns: 0,
        end_ns: 0,
    }
}

fn inference(user: &str) -> Inference {
    let hash = |text: &str| Some(format!("hmac-sha256:{}", hex(&Sha256::digest(text))));
    Inference {
        user_id: hash(user),
        prompt_hash: hash("prompt"),
        ..Inference::default()
    }
}

fn inferences(bodies: &[Body]) -> Vec<&Inference> {
    let mut found = Vec::new();
    for body in bodies {
        if let Body::Inference(inference) = body {
            found.push(&**inference);
        }
    }
    found
}

/// Every byte under a directory.
fn everything(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(everything(&path));
        } else {
            all.extend(std::fs::read(&path).unwrap());
        }
    }
    all
}

#[test]
fn records_keep_their_order_and_wait_for_their_content() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "one");
    bench
        .store
        .record(Box::new(Body::AgentStop(AgentStop::default())), bench.now);
    bench.exchange("bob", "two");
    assert!(bench.store.ready().is_empty(), "nothing is durable yet");
    let bodies = bench.commit();
    assert!(matches!(
        bodies.as_slice(),
        [Body::Inference(_), Body::AgentStop(_), Body::Inference(_)]
    ));
}

#[test]
fn the_holder_of_the_identity_reads_it_and_no_file_has_the_text() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "the launch code is 0000");
    bench.exchange("ann", "another question");
    let bodies = bench.commit();
    let contents: Vec<_> = inferences(&bodies)
        .iter()
        .map(|i| i.content.clone().unwrap())
        .collect();
    assert_eq!(
        contents[0].member, contents[1].member,
        "one age file for a user and commit"
    );
    assert!(
        bench
            .read(&contents[0])
            .unwrap()
            .contains("the launch code is 0000")
    );
    assert!(bench.read(&contents[1]).unwrap().contains("to another question"));
    let all = everything(bench.place.path());
    assert!(!all.windows(6).any(|window| window == b"launch"));
    assert!(!all.windows(8).any(|window| window == b"question"));
    let mode = |name: &str| std::fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode("users"), mode("requests"), mode("keys"), mode("segments")],
        [0o700, 0o700, 0o750, 0o750]
    );
    let segment = format!("segments/{}", contents[0].file.as_deref().unwrap());
    assert_eq!(mode(&segment) & 0o037, 0);
}

#[test]
fn users_have_pseudonyms_of_their_own_that_stay_over_a_restart() {
    let mut bench = Bench::new(Mode::Hash, Limits::default());
    for user in ["ann", "bob", "ann"] {
        bench
            .store
            .record(Box::new(Body::Inference(Box::new(inference(user)))), bench.now);
    }
    let bodies = bench.commit();
    let found = inferences(&bodies);
    assert_eq!(
        (&found[0].user_id, &found[0].prompt_hash, &found[0].salt_id),
        (&found[2].user_id, &found[2].prompt_hash, &found[2].salt_id)
    );
    assert_ne!(
        found[0].prompt_hash, found[1].prompt_hash,
        "the same prompt of two users"
    );
    assert_ne!(
        found[0].user_id,
        inference("ann").user_id,
        "not the hash that the host's key alone gives"
    );
    assert!(found[0].content.is_none());
    let settings = Settings {
        mode: Mode::Hash,
        user_salts: true,
        ..Settings::default()
    };
    bench.store = Store::open(&bench.place.path().join("content"), settings).unwrap();
    bench
        .store
        .record(Box::new(Body::Inference(Box::new(inference("ann")))), bench.now);
    assert_eq!(inferences(&bench.commit())[0].user_id, found[0].user_id);
}

#[test]
fn a_place_that_takes_nothing_loses_content_and_no_record_and_says_so() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "stored");
    bench.commit();
    // A directory that is gone takes no file: each run and hour begins a segment.
    std::fs::remove_dir_all(bench.path("segments")).unwrap();
    bench.now += 3700 * SECOND;
    bench.exchange("ann", "one");
    bench.exchange("ann", "two");
    let bodies = bench.commit();
    for inference in inferences(&bodies) {
        let content = inference.content.clone().unwrap();
        assert_eq!(
            (content.state.as_str(), content.address, content.file),
            ("lost", None, None)
        );
        assert_eq!(content.prompt.unwrap().bytes, 0);
    }
    bench
        .store
        .record(Box::new(Body::AgentStop(AgentStop::default())), bench.now);
    let bodies = bench.commit();
    let [Body::Gap(gap), Body::AgentStop(stop)] = bodies.as_slice() else {
        panic!("{bodies:?}")
    };
    assert_eq!((gap.place.as_str(), gap.lost["objects"]), ("content", 2));
    assert_eq!(
        (stop.counters["content_objects"], stop.counters["content_lost"]),
        (1, 2)
    );
}

#[test]
fn a_user_whose_file_is_damaged_is_not_taken_for_a_new_one() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "one");
    bench.commit();
    let file = bench.path("users").join(hex(&Sha256::digest("ann")));
    std::fs::write(&file, "damaged").unwrap();
    let settings = bench.store.open.take().unwrap().settings;
    bench.store = Store::open(&bench.place.path().join("content"), settings).unwrap();
    bench.exchange("ann", "two");
    let bodies = bench.commit();
    assert_eq!(inferences(&bodies)[0].content.clone().unwrap().state, "lost");
    assert_eq!(std::fs::read(&file).unwrap(), b"damaged", "it may be restored");
}

#[test]
fn more_new_users_than_a_commit_takes_are_refused_and_linked_to_nothing() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    for user in 0..limits::CONTENT_NEW_USERS + 3 {
        bench.exchange(&user.to_string(), "x");
    }
    let bodies = bench.commit();
    let states: Vec<_> = inferences(&bodies)
        .iter()
        .map(|i| i.content.clone().unwrap().state)
        .collect();
    assert_eq!(states.iter().filter(|state| *state == "refused").count(), 3);
    bench.exchange(&limits::CONTENT_NEW_USERS.to_string(), "x");
    assert_eq!(
        inferences(&bench.commit())[0].content.clone().unwrap().state,
        "stored"
    );
}

#[test]
fn text_that_waits_has_a_cap() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    for _ in 0..3 {
        bench.exchange("ann", &"x".repeat(limits::CONTENT_HELD_BYTES));
        assert_eq!(bench.store.ready().len(), 1, "it does not wait for the commit");
    }
}

#[test]
fn without_content_or_salts_records_pass_and_nothing_is_made() {
    let place = tempfile::tempdir().unwrap();
    let mut store = Store::open(&place.path().join("content"), Settings::default()).unwrap();
    store.record(Box::new(Body::Inference(Box::new(inference("ann")))), 1);
    let ready = store.ready();
    let Body::Inference(found) = &*ready[0].0 else {
        panic!()
    };
    assert_eq!(found.user_id, inference("ann").user_id);
    assert!(std::fs::read_dir(place.path()).unwrap().next().is_none());
}

#[test]
fn an_admin_call_bears_the_pseudonyms_of_its_user() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "hello");
    let user_id = inference("ann").user_id;
    let admin = crate::record::served::Admin {
        user_id: user_id.clone(),
        request_body_hash: Some("hmac-sha256:00".into()),
        ..Default::default()
    };
    bench
        .store
        .record(Box::new(Body::Admin(Box::new(admin))), bench.now);
    let bodies = bench.commit();
    let [Body::Inference(inference), Body::Admin(admin)] = bodies.as_slice() else {
        panic!("{bodies:?}")
    };
    assert_eq!(
        (&admin.user_id, &admin.salt_id),
        (&inference.user_id, &inference.salt_id)
    );
    assert_ne!(admin.user_id, user_id);
    assert_ne!(admin.request_body_hash.as_deref(), Some("hmac-sha256:00"));
}
