use super::*;
use crate::ledger::merkle;
use proptest::prelude::*;

fn key(name: &str) -> LogKey {
    LogKey::new(name, &[7; 32])
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        origin: "example.com/log".into(),
        head: Head {
            size: 923_748,
            root: merkle::leaf(b"x"),
        },
    }
}

/// The note of the Go package golang.org/x/mod/sumdb/note, with its published key.
#[test]
fn a_published_note_is_read_and_its_signature_checked() {
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
                — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let verifier =
        Verifier::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    let note = Note::parse(text).unwrap();
    assert_eq!(note.signed_by(&verifier), Ok(0));
    assert_eq!(note.to_string(), text);
    let changed = Note::parse(&text.replace("answer", "ANSWER")).unwrap();
    assert_eq!(changed.signed_by(&verifier), Err(NoteError::Forged));
}

#[test]
fn another_implementation_reads_our_checkpoint() {
    let ours = checkpoint().note(&key("example.com/log")).to_string();
    let theirs = signed_note::Note::from_bytes(ours.as_bytes()).unwrap();
    let verifier =
        signed_note::StandardVerifier::new(&key("example.com/log").verifier().to_string()).unwrap();
    let (good, unknown) = theirs
        .verify(&signed_note::VerifierList::new(vec![Box::new(verifier)]))
        .unwrap();
    assert_eq!((good.len(), unknown.len()), (1, 0));
    let read = tlog_tiles::Checkpoint::from_bytes(theirs.text()).unwrap();
    assert_eq!((read.origin(), read.size()), ("example.com/log", 923_748));
    assert_eq!(read.hash().0, checkpoint().head.root);
}

#[test]
fn lines_of_unknown_keys_are_ignored_and_a_false_one_of_the_log_spoils_the_note() {
    let log = key("example.com/log");
    let mut note = checkpoint().note(&log);
    note.sign(&key("someone.else"));
    assert_eq!(
        Checkpoint::open(&note.to_string(), &log.verifier()).unwrap().0,
        checkpoint()
    );
    let mut forged = note.signatures[0].clone();
    forged.bytes[9] ^= 1;
    note.signatures.push(forged);
    assert_eq!(
        Checkpoint::open(&note.to_string(), &log.verifier()),
        Err(NoteError::Forged)
    );
}

#[test]
fn another_origin_is_another_log() {
    let note = checkpoint().note(&key("example.com/log")).to_string();
    let other = key("example.com/other").verifier();
    assert_eq!(Checkpoint::open(&note, &other), Err(NoteError::Unsigned));
}

#[test]
fn sizes_and_roots_have_one_spelling() {
    let text = checkpoint().text();
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
    for wrong in [
        text.replace("923748", "0923748"),
        text.replace("923748", "+923748"),
        text.replace("923748", "-1"),
        text.replace("923748", ""),
        text.replace("example.com/log", ""),
        text.replace('=', ""),
        text.trim_end().into(),
    ] {
        assert_eq!(
            Checkpoint::parse(&wrong),
            Err(NoteError::NotACheckpoint),
            "{wrong}"
        );
    }
}

proptest! {
    #[test]
    fn hostile_notes_do_no_harm(text in any::<String>()) {
        let _ = Note::parse(&text);
        let _ = Note::parse(&format!("{text}\n\n— a {text}\n"));
        let _ = Checkpoint::parse(&text);
    }

    #[test]
    fn notes_are_read_back(text in "[ -~\n]{0,200}", names in prop::collection::vec("[a-z./]{1,20}", 1..5)) {
        let mut note = Note { text: text + "\n", signatures: Vec::new() };
        names.iter().for_each(|name| note.sign(&key(name)));
        let read = Note::parse(&note.to_string()).unwrap();
        prop_assert_eq!(&read, &note);
        prop_assert_eq!(read.signed_by(&key(&names[0]).verifier()), Ok(0));
    }

    #[test]
    fn every_prefix_of_a_checkpoint_is_refused(cut in any::<prop::sample::Index>()) {
        let whole = checkpoint().note(&key("example.com/log")).to_string();
        let at = whole.char_indices().map(|(at, _)| at).nth(cut.index(whole.chars().count())).unwrap();
        prop_assert!(Checkpoint::open(&whole[..at], &key("example.com/log").verifier()).is_err());
    }
}
