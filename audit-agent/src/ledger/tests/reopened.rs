//! A log that is opened again: what an agent goes on behind, what it leaves alone, and which keys are left.

use super::*;

#[test]
fn goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let (mut ledger, first) = open(dir.path()).unwrap();
    assert!(first.is_empty(), "a clean stop needs no word");
    assert_eq!(ledger.submit(&bodies(1)[0], NOW)[0].seq, 6);
    ledger.commit(NOW).unwrap();
    assert_eq!(check_dir(dir.path()).fault, None);
}

/// What a server wrote is in records, and a log that cannot be read back is not gone on with.
#[test]
fn goes_on_behind_a_record_with_any_names() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), false);
    let names = ["$serde_json::private::RawValue", "a", "\u{7f}\"\\"];
    let body = Body::Inference(Box::new(Inference {
        effective_params: names.map(|name| (name.to_owned(), "1".into())).into(),
        ..Inference::default()
    }));
    let (mut ledger, _) = open(dir.path()).unwrap();
    assert_eq!(ledger.submit(&body, NOW).len(), 1);
    ledger.close(NOW).unwrap();
    drop(ledger);
    let (mut ledger, first) = open(dir.path()).unwrap();
    assert_eq!(
        first.len(),
        2,
        "the epoch's end, and a word on the stop that is missing"
    );
    ledger.close(NOW).unwrap();
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn a_file_cut_anywhere_continues_with_a_signed_word() {
    let dir = tempfile::tempdir().unwrap();
    let whole = write_log(dir.path(), false);
    let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
    let secret = fs::read(dir.path().join("keys/epoch-1.key")).unwrap();
    for keep in ends[ends.len() - 3]..=whole.len() {
        fs::write(segment_path(dir.path()), &whole[..keep]).unwrap();
        let _ = fs::remove_file(dir.path().join("log/checkpoint"));
        fs::write(dir.path().join("keys/epoch-1.key"), &secret).unwrap();
        let _ = fs::remove_file(dir.path().join("keys/epoch-2.key"));
        let (mut ledger, first) = open(dir.path()).unwrap();
        ledger.commit(NOW).unwrap();
        drop(ledger);
        let torn = whole[..keep].last() != Some(&b'\n');
        assert_eq!(first.len(), if torn { 3 } else { 2 }, "cut at {keep}");
        let report = check_dir(dir.path());
        assert_eq!(report.fault, None, "cut at {keep}");
        assert_eq!(
            (report.by_type.contains_key("recovery"), report.gaps["agent_down"]),
            (torn, 1)
        );
    }
}

#[test]
fn a_log_that_is_shorter_than_its_checkpoint_is_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), false);
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.close(NOW).unwrap();
    drop(ledger);
    let lines = lines_of(dir.path());
    let cut = [lines[..lines.len() - 1].join(&b'\n'), b"\n".to_vec()].concat();
    fs::write(segment_path(dir.path()), &cut).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            LogError::Damaged {
                reason: RecoverError::Cut { signed: 7, found: 6 },
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("move the directory away"), "{error}");
    assert_eq!(
        fs::read(segment_path(dir.path())).unwrap(),
        cut,
        "evidence is left alone"
    );
    fs::rename(dir.path().join("log"), dir.path().join("evidence")).unwrap();
    let (_, said) = open(dir.path()).unwrap();
    let word = String::from_utf8_lossy(&said[1].bytes).into_owned();
    assert!(word.contains(&begun::hash(&lines[0])), "{word}");
}

#[test]
fn two_agents_do_not_share_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Locked(_))));
}

#[test]
fn a_log_of_another_key_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let before = write_log(dir.path(), true);
    fs::remove_dir_all(dir.path().join("keys")).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Foreign { .. })));
    assert_eq!(fs::read(segment_path(dir.path())).unwrap(), before);
}

#[test]
fn a_full_queue_refuses_and_says_how_many() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path()).unwrap();
    let body = &bodies(2)[1];
    while !ledger.submit(body, NOW).is_empty() {}
    assert!(ledger.submit(body, NOW).is_empty());
    let gap = ledger.commit(NOW).unwrap().pop().expect("a gap record");
    assert!(
        String::from_utf8(gap.bytes)
            .unwrap()
            .contains("\"lost\":{\"records\":2}")
    );
    drop(ledger);
    let (ledger, _) = open(dir.path()).unwrap();
    assert!(ledger.chain.seq() > 2 * store::SEGMENT, "it went over segments");
    assert_eq!(
        ledger.chain.epochs().number(),
        // The last two lines are the hand-over at this start and its word.
        2 + (ledger.chain.seq() - 4) / (epoch::RECORDS + 1)
    );
}

#[test]
fn an_epoch_ends_after_its_records_and_after_its_time_and_leaves_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.submit(&bodies(1)[0], NOW);
    ledger.commit(NOW).unwrap();
    let secret = fs::read(dir.path().join("keys/epoch-1.key")).unwrap();
    let lines = ledger.submit(&bodies(1)[0], NOW + epoch::NANOS);
    assert_eq!(lines.len(), 2, "a hand-over and the record");
    ledger.commit(NOW).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path().join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.iter().any(|path| path.ends_with("epoch-2.key")), "{left:?}");
    assert!(
        left.iter().all(|path| fs::read(path).unwrap() != secret),
        "{left:?}"
    );
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn an_agent_that_starts_ends_the_epoch_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let secret = dir.path().join("keys/epoch-1.key");
    assert!(secret.exists());
    let (mut ledger, _) = open(dir.path()).unwrap();
    ledger.submit(&bodies(1)[0], NOW);
    ledger.commit(NOW).unwrap();
    assert_eq!(ledger.chain.epochs().number(), 2);
    assert!(!secret.exists(), "it could sign records of the run before");
    assert_eq!(check_dir(dir.path()).fault, None);
}

#[test]
fn keys_are_made_once_and_kept_from_others() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    let first = Keys::load_or_create(&keys, "a.example/log").unwrap();
    let again = Keys::load_or_create(&keys, "other name").unwrap();
    assert_eq!(first.log.verifier(), again.log.verifier());
    for name in ["log.key", "hash.key", "epoch-1.key"] {
        let mode = fs::metadata(keys.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    fs::set_permissions(keys.join("log.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = Keys::load_or_create(&keys, "x").unwrap_err();
    assert!(error.to_string().contains("chmod 600"), "{error}");
}
