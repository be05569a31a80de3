//! What operators ask for, and what is over its time: recorded first, done then.

use super::*;

#[test]
fn an_erased_user_cannot_be_read_or_linked_and_others_can() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    bench.exchange("ann", "secret of ann");
    bench.exchange("bob", "secret of bob");
    let before = bench.commit();
    let before = inferences(&before);
    let user = hex(&Sha256::digest("ann"));
    let wish = Request::Erasure {
        login_uid: None,
        user: user.clone(),
    };
    let dir = bench.place.path().to_owned();
    let asking = std::thread::spawn(move || ask(&dir, &wish));
    let erasure = loop {
        match bench.commit().pop() {
            Some(Body::Erasure(erasure)) => break erasure,
            _ => std::thread::yield_now(),
        }
    };
    asking.join().unwrap().unwrap();
    let ann = before[0].content.clone().unwrap();
    assert_eq!(Some(&erasure.user_id), before[0].user_id.as_ref());
    assert_eq!(erasure.key_ids, [ann.key_id.clone().unwrap()]);
    assert!(bench.read(&ann).is_err());
    assert!(bench.read(&before[1].content.clone().unwrap()).is_ok());
    assert!(!bench.path("users").join(user).exists());
    bench.exchange("ann", "again");
    let after = bench.commit();
    let after = inferences(&after)[0];
    assert_ne!(after.user_id, before[0].user_id);
    assert_ne!(after.prompt_hash, before[0].prompt_hash);
}

#[test]
fn an_access_is_recorded_before_it_is_granted_and_a_refused_record_grants_nothing() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    let wish = Request::Access {
        content_seq: 7,
        login_uid: Some(1000),
        reader: "age1x".into(),
    };
    let dir = bench.place.path().to_owned();
    let asking = std::thread::spawn(move || ask(&dir, &wish));
    let access = loop {
        bench.store.flush(bench.now);
        if let Some((body, _)) = bench.store.ready().pop() {
            break *body;
        }
        std::thread::yield_now();
    };
    bench.store.refused();
    bench.store.committed();
    assert!(!asking.is_finished(), "the log did not take the record");
    assert!(matches!(access, Body::Access(ref access) if access.content_seq == 7));
    assert!(matches!(bench.commit().as_slice(), [Body::Access(_)]));
    asking.join().unwrap().unwrap();
}

#[test]
fn what_is_no_request_is_refused_and_a_dead_agent_is_named() {
    let mut bench = Bench::new(Mode::Full, Limits::default());
    for (name, text) in [
        ("a.json", "{"),
        (
            "b.json",
            "{\"kind\":\"erasure\",\"login_uid\":null,\"user\":\"../../x\"}",
        ),
    ] {
        std::fs::write(bench.path("requests").join(name), text).unwrap();
    }
    assert!(bench.commit().is_empty());
    assert!(bench.path("requests/a.refused").exists() && bench.path("requests/b.refused").exists());
}

#[test]
fn segments_over_their_time_go_after_a_record_that_names_them() {
    let mut bench = Bench::new(
        Mode::Full,
        Limits {
            seconds: 7200,
            bytes: 0,
        },
    );
    bench.exchange("ann", "old");
    let old = inferences(&bench.commit())[0].content.clone().unwrap();
    bench.now += 3601 * SECOND;
    bench.exchange("ann", "new");
    bench.commit();
    bench.now += 7200 * SECOND;
    bench.store.flush(bench.now);
    let ready = bench.store.ready();
    let [(body, _)] = ready.as_slice() else {
        panic!("{ready:?}")
    };
    let Body::Retention(retention) = &**body else {
        panic!("{body:?}")
    };
    let file = old.file.unwrap();
    assert_eq!(
        (retention.files.as_slice(), retention.reason.as_str()),
        ([file.clone()].as_slice(), "age")
    );
    let path = bench.path("segments").join(file);
    assert_eq!(retention.bytes, std::fs::metadata(&path).unwrap().len());
    assert!(path.exists(), "not before its record is durable");
    bench.store.committed();
    assert!(!path.exists());
}

#[test]
fn under_a_legal_hold_nobody_is_erased_and_nothing_is_removed() {
    let mut bench = Bench::new(Mode::Full, Limits { seconds: 1, bytes: 1 });
    bench.store.open.as_mut().unwrap().settings.hold = true;
    bench.exchange("ann", "kept");
    let kept = inferences(&bench.commit())[0].content.clone().unwrap();
    let user = hex(&Sha256::digest("ann"));
    let wish = Request::Erasure {
        login_uid: None,
        user,
    };
    let dir = bench.place.path().to_owned();
    let asking = std::thread::spawn(move || ask(&dir, &wish));
    while !asking.is_finished() {
        bench.now += 3700 * SECOND;
        assert!(bench.commit().is_empty());
    }
    let refused = asking.join().unwrap().unwrap_err().to_string();
    assert!(refused.contains("refused"), "{refused}");
    assert!(bench.read(&kept).is_ok());
}
