//! Request targets (RFC 9112 section 3.2, RFC 3986) and URLs in bodies.
//!
//! In: their text. Out: parts of it. Never: a user, a password or a query in what records may hold of a URL.

/// The path without query, fragment, scheme and authority.
pub fn path(target: &str) -> &str {
    let target = match target.split_once("://") {
        // In origin-form what looks like a scheme belongs to the query.
        Some((_, rest)) if !target.starts_with('/') => {
            let path = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..));
            path.filter(|path| path.starts_with('/')).unwrap_or("/")
        }
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// The value of the first of `names` that the query has, decoded.
pub fn query(target: &str, names: &[&str]) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    let query = query.split('#').next().unwrap_or_default();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let named = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    pairs
        .find(|(name, value)| named(name) && !value.is_empty())
        .map(|(_, value)| percent_decoded(value))
}

/// A URL without its user, query and fragment; a text that is no URL stays as it is.
pub fn bare_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return text.to_owned();
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

fn is_scheme(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// A text without its percent-encoding (RFC 3986 section 2.1); what is no such encoding stays as it is.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let code = behind
            .first_chunk::<2>()
            .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = match code {
            Some(_) => behind.get(2..).unwrap_or_default(),
            None => behind,
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_that_of_the_target_in_all_its_forms() {
        for (target, expected) in [
            ("/v1/models", "/v1/models"),
            ("/v1/chat?key=secret", "/v1/chat"),
            ("/v1/chat?next=http://h/other", "/v1/chat"),
            ("http://user:secret@h:1/v1/chat?x", "/v1/chat"),
            ("http://h?key=/secret", "/"),
            ("http://h", "/"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(path(target), expected, "{target}");
        }
    }

    #[test]
    fn a_query_gives_its_first_value_of_a_name() {
        let target = "/a?x=1&KEY=&key=s%2Fk%2&key=2#key=3";
        assert_eq!(query(target, &["key"]).as_deref(), Some("s/k%2"));
        assert_eq!(query(target, &["y"]), None);
        assert_eq!(query("/a", &["key"]), None);
    }

    #[test]
    fn a_bare_url_has_no_secrets() {
        for (text, expected) in [
            (
                "https://me:secret@h:1/a@b/c.gguf?token=secret#x",
                "https://h:1/a@b/c.gguf",
            ),
            ("hf://org/model", "hf://org/model"),
            ("https://h?key=secret", "https://h"),
            ("/models/a?b.gguf", "/models/a?b.gguf"),
            ("FROM x\nPARAMETER y http://", "FROM x\nPARAMETER y http://"),
        ] {
            assert_eq!(bare_url(text), expected, "{text}");
        }
    }

    #[test]
    fn percent_encoding_is_taken_off_where_it_is_one() {
        assert_eq!(percent_decoded("a%20%zz%+1%"), "a %zz%+1%");
    }
}
