//! A checkpoint of a public log that public witnesses cosigned: implementations of the protocol that are not ours. The
//! certificate transparency log arche2025h1 (staging) on 2026-05-23, and the keys that its witnesses' operators publish.

use super::*;
use crate::ledger::note::Checkpoint;

const CHECKPOINT: &str = "arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
";
const POLICY: &str = "
log arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f
witness remora remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2
witness stagemole witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv
witness garden transparency.dev/DEV:witness-little-garden+d8042a87+BCtusOxINQNUTN5Oj8HObRkh2yHf/MwYaGX4CPdiVEPM
group all 3 remora stagemole garden
quorum all
";

#[test]
fn public_witnesses_of_a_public_log_meet_a_policy() {
    let policy = Policy::parse(POLICY).unwrap();
    let (checkpoint, note) = Checkpoint::open(CHECKPOINT, &policy.logs[0]).unwrap();
    assert_eq!(checkpoint.head.size, 1_432_088_532);
    let cosigned = policy.cosigned(&note).unwrap();
    let names: BTreeSet<&str> = cosigned.iter().map(|one| one.witness.as_str()).collect();
    assert!(policy.is_met(&names), "{names:?}");
    assert!(
        cosigned.iter().all(|one| one.time == 1_779_573_024),
        "{cosigned:?}"
    );
}

#[test]
fn a_cosignature_covers_the_size() {
    let policy = Policy::parse(POLICY).unwrap();
    let changed = CHECKPOINT.replace("1432088532", "1432088533");
    let note = Note::parse(&changed).unwrap();
    assert_eq!(policy.cosigned(&note), Err(NoteError::Forged));
}
