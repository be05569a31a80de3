//! Lines that are gone under a signed record, and one that is not.

use super::*;

#[test]
fn old_segments_go_under_a_signed_record_and_the_rest_still_verifies() {
    use crate::ledger::Ledger;
    use crate::ledger::keys::Keys;
    use crate::ledger::retention::Keep;
    let dir = tempfile::tempdir().unwrap();
    let keys = || Keys::load_or_create(&dir.path().join("keys"), NAME).unwrap();
    let log = dir.path().join("log");
    let beat = Body::Heartbeat(Heartbeat::default());
    let (mut ledger, _) = Ledger::open(&log, keys(), NOW).unwrap();
    while ledger.submit(&beat, NOW).last().unwrap().seq < 3 * SEGMENT + 10 {}
    ledger.close(NOW).unwrap();
    let before = fs::read_to_string(log.join("checkpoint")).unwrap();
    let day = |days: u64| NOW + days * 24 * 3_600_000_000_000;
    let segments = || crate::ledger::store::segments(&DirDisk::new(&log)).unwrap();
    ledger.keep(Keep::days(184, true));
    assert!(ledger.commit(day(200)).unwrap().is_empty(), "on hold");
    ledger.keep(Keep::days(184, false));
    assert!(ledger.commit(day(183)).unwrap().is_empty(), "not old yet");
    assert_eq!(segments().len(), 4);
    let lines = ledger.commit(day(185)).unwrap();
    assert!(String::from_utf8_lossy(&lines.last().unwrap().bytes).contains("\"retired_before\":8192"));
    let said = String::from_utf8_lossy(&lines.last().unwrap().bytes).into_owned();
    assert!(
        said.contains(r#""reason":"age""#) && said.contains(r#""where":"log""#) && said.contains(&segment(0))
    );
    assert_eq!(
        segments(),
        BTreeSet::from([2 * SEGMENT, 3 * SEGMENT]),
        "the last two stay"
    );
    let key = keys().log.verifier();
    let (checkpoint, note) = Checkpoint::open(&before, &key).unwrap();
    let asked = Asked {
        key,
        kept: vec![(checkpoint.head, note)],
        ..asked()
    };
    ledger.close(day(185)).unwrap();
    let finding = check(&log, &asked);
    assert_eq!(
        (finding.verdict, finding.retired),
        (Verdict::Intact, 2 * SEGMENT),
        "{finding:?}"
    );
    drop(ledger);
    let (mut ledger, _) = Ledger::open(&log, keys(), day(186)).unwrap();
    ledger.submit(&beat, day(186));
    ledger.close(day(186)).unwrap();
    assert_eq!(check(&log, &asked).verdict, Verdict::IntactWithGaps, "it goes on");
    // One segment more than the record says.
    fs::remove_file(log.join(segment(2 * SEGMENT))).unwrap();
    assert_eq!(check(&log, &asked).verdict, Verdict::Tampered);
}
