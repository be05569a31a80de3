use super::*;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_secret_that_others_may_read_is_refused_and_a_credential_as_systemd_gives_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    std::fs::write(&path, [1; 32]).unwrap();
    for (mode, own, credential) in [
        (0o600, true, true),
        (0o440, false, true),
        (0o460, false, false),
        (0o444, false, false),
    ] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read(&path).is_ok(), own, "{mode:o}");
        assert_eq!(
            read_but_for(CREDENTIAL_FORBIDDEN, &path).is_ok(),
            credential,
            "{mode:o}"
        );
    }
}
