use super::*;
use crate::ledger::Ledger;
use crate::ledger::tests::{NOW, check_dir, keys_in, lines_of, open, write_log};
use std::fs;
use std::path::Path;

/// The record after line 0.
fn second(dir: &Path) -> serde_json::Value {
    serde_json::from_slice(&lines_of(dir)[1]).unwrap()
}

#[test]
fn a_log_that_is_gone_is_named_by_the_next_one_of_its_keys() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    let first = hash(&lines_of(dir.path())[0]);
    assert_ne!(
        second(dir.path())["record_type"],
        "recovery",
        "nothing was before it"
    );
    for (way, now) in [("moved away", NOW + 1), ("deleted", NOW + 2)] {
        let before = hash(&lines_of(dir.path())[0]);
        match way {
            "deleted" => fs::remove_dir_all(dir.path().join("log")).unwrap(),
            _ => fs::rename(dir.path().join("log"), dir.path().join("evidence")).unwrap(),
        }
        let (mut ledger, said) = Ledger::open(&dir.path().join("log"), keys_in(dir.path()), now).unwrap();
        assert_eq!(said.len(), 2, "line 0 and the word");
        ledger.close(now).unwrap();
        drop(ledger);
        let word = second(dir.path());
        assert_eq!(
            (&word["record_type"], &word["lost_first_line"]),
            (&"recovery".into(), &before.clone().into()),
            "{way}"
        );
        let report = check_dir(dir.path());
        assert_eq!((report.fault, report.lost_first_line), (None, Some(before)));
    }
    assert_ne!(hash(&lines_of(dir.path())[0]), first);
}

#[test]
fn keys_that_began_no_log_yet_have_lost_none() {
    let dir = tempfile::tempdir().unwrap();
    drop(keys_in(dir.path()));
    let (ledger, said) = open(dir.path()).unwrap();
    assert!(said.is_empty(), "{said:?}");
    // Nothing was made durable, so nothing can be lost.
    drop(ledger);
    assert!(open(dir.path()).unwrap().1.is_empty());
}

#[test]
fn a_log_from_before_its_first_line_was_remembered_is_remembered_when_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    write_log(dir.path(), true);
    for content in [None, Some("not a hash")] {
        let file = dir.path().join("keys/log.first");
        match content {
            None => fs::remove_file(&file).unwrap(),
            Some(content) => fs::write(&file, content).unwrap(),
        }
        let (mut ledger, _) = open(dir.path()).unwrap();
        ledger.close(NOW).unwrap();
        drop(ledger);
        let known = hash(&lines_of(dir.path())[0]);
        let expected = content.map_or(known, |_| "unknown".to_owned());
        fs::remove_dir_all(dir.path().join("log")).unwrap();
        let (mut ledger, _) = open(dir.path()).unwrap();
        ledger.close(NOW).unwrap();
        drop(ledger);
        assert_eq!(second(dir.path())["lost_first_line"], expected.as_str());
    }
}
