//! What the auditor brings along: kept checkpoints, the pinned first line, a policy of witnesses.

use super::*;

#[test]
fn cut_and_gone_on_with_is_found_by_any_kept_checkpoint() {
    let (long, short) = (made(900, 1, None), made(600, 1, None));
    // An intruder in the same epoch has its key: the short log is well signed and continues otherwise.
    let dir = short.write();
    assert_eq!(
        verdict(&dir).0,
        Verdict::Intact,
        "nothing in the directory can tell"
    );
    let asked = Asked {
        kept: vec![kept(long.last_note())],
        ..asked()
    };
    let finding = check(dir.path(), &asked);
    assert_eq!(
        (finding.verdict, finding.first_bad_seq),
        (Verdict::Truncated, Some(600))
    );
}

#[test]
fn another_history_is_found_by_any_kept_checkpoint() {
    let (ours, forked) = (made(900, 1, None), made(950, 1, Some(500)));
    let dir = forked.write();
    let asked = Asked {
        kept: vec![kept(&ours.notes[&600])],
        ..asked()
    };
    assert_eq!(check(dir.path(), &asked).verdict, Verdict::Tampered);
    let same_size = Asked {
        kept: vec![kept(&forked.notes[&950]), kept(ours.last_note())],
        ..asked.clone()
    };
    assert_eq!(check(dir.path(), &same_size).verdict, Verdict::Tampered);
    let earlier = Asked {
        kept: vec![kept(&forked.notes[&600])],
        ..asked
    };
    assert_eq!(check(dir.path(), &earlier).verdict, Verdict::IntactWithGaps);
}

#[test]
fn a_fresh_log_of_the_same_key_is_not_the_pinned_one() {
    let (ours, fresh) = (made(50, 1, None), made(50, 2, None));
    let first_line = check(ours.write().path(), &asked()).first_line;
    let asked = Asked {
        first_line,
        ..asked()
    };
    assert_eq!(check(ours.write().path(), &asked).verdict, Verdict::Intact);
    let finding = check(fresh.write().path(), &asked);
    assert_eq!(
        (finding.verdict, finding.first_bad_seq),
        (Verdict::Tampered, Some(0))
    );
}

#[test]
fn a_policy_asks_for_cosignatures_that_are_there_and_new() {
    let made = made(30, 1, None);
    let witness = LogKey::new("witness.example", &[3; 32]);
    let text = format!("witness w {}\nquorum w\n", witness.verifier().cosigner());
    let policy = Asked {
        policy: Policy::parse(&text).unwrap(),
        ..asked()
    };
    let dir = made.write();
    assert_eq!(check(dir.path(), &policy).verdict, Verdict::PolicyUnmet);
    let mut note = Note::parse(&made.notes[&28]).unwrap();
    note.cosign(&witness, 1000);
    fs::write(dir.path().join("checkpoint.cosigned"), note.to_string()).unwrap();
    let finding = check(dir.path(), &policy);
    assert_eq!((finding.verdict, finding.cosigned), (Verdict::UnverifiedTail, 28));
    let mut note = Note::parse(made.last_note()).unwrap();
    note.cosign(&witness, 1000);
    fs::write(dir.path().join("checkpoint.cosigned"), note.to_string()).unwrap();
    assert_eq!(check(dir.path(), &policy).verdict, Verdict::Intact);
    let fresh = |since| Asked {
        newest_since: Some(since),
        ..policy.clone()
    };
    assert_eq!(check(dir.path(), &fresh(1000)).verdict, Verdict::Intact);
    assert_eq!(check(dir.path(), &fresh(1001)).verdict, Verdict::PolicyUnmet);
    let forged = note
        .to_string()
        .replace("— witness.example ", "— witness.example x");
    fs::write(dir.path().join("checkpoint.cosigned"), forged).unwrap();
    assert_ne!(check(dir.path(), &policy).verdict, Verdict::Intact);
}
