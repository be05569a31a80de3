//! Which version of a model answered.
//!
//! In: the weights files that a server has open, the largest first. Out: `model_version` and where it is from. Never: the digest of
//! a smaller file (a draft model, a vocabulary), which would name another model while the largest one's is computed.

use crate::event::ModelFile;

/// `sha256:` and the digest, None while it is computed; and the source. None without any file.
pub fn version(files: &[ModelFile]) -> Option<(Option<String>, &'static str)> {
    let version = files
        .first()?
        .sha256
        .as_ref()
        .map(|digest| format!("sha256:{digest}"));
    let source = match version {
        Some(_) => "weights_file",
        None => "weights_file_digest_pending",
    };
    Some((version, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(sha256: Option<&str>) -> ModelFile {
        ModelFile {
            sha256: sha256.map(Into::into),
            ..ModelFile::default()
        }
    }

    #[test]
    fn a_small_file_with_a_digest_does_not_stand_for_the_large_one_without() {
        let pending = version(&[file(None), file(Some("ab"))]);
        assert_eq!(pending, Some((None, "weights_file_digest_pending")));
        let known = version(&[file(Some("cd")), file(Some("ab"))]);
        assert_eq!(known, Some((Some("sha256:cd".into()), "weights_file")));
        assert_eq!(version(&[]), None);
    }
}
