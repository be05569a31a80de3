//! Secrets in command lines, masked before anything keeps them.
//!
//! In: the arguments of a process. Out: the same with `***` where a secret stands or may stand. Never: a part of one.

const MASK: &str = "***";

/// Words in an option's or variable's name whose value is secret.
const SECRET_NAMES: &[&str] = &[
    "key",
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "auth",
    "bearer",
];

/// Names that have such a word and hold no secret: the path of a file, a number.
const HARMLESS: &[&str] = &[
    "key-file",
    "keyfile",
    "tokens",
    "n-tokens",
    "tokenizer",
    "author",
    "keep-alive",
    "keyboard",
];

/// Options whose value is what a client sends, or what a model is told: content, which records never hold.
const CONTENT_OPTIONS: &[&str] = &[
    "-d", "-F", "-p", "--form", "--json", "--prompt", "--system", "-sys",
];

/// Longest argument that is kept; longer ones are content more often than not.
const ARGUMENT_MAX: usize = 256;

/// The arguments with their secrets and contents masked.
pub fn argv(args: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut next_is_secret = false;
    for arg in args {
        if next_is_secret && !(arg.starts_with('-') && is_secret_name(arg)) {
            out.push(MASK.to_owned());
            next_is_secret = false;
            continue;
        }
        let opens_content = CONTENT_OPTIONS.contains(&arg.as_str()) || arg.starts_with("--data");
        next_is_secret = arg.starts_with('-') && !arg.contains('=') && (is_secret_name(arg) || opens_content);
        out.push(if is_content(arg) {
            MASK.to_owned()
        } else {
            masked(arg)
        });
    }
    out
}

/// JSON, several lines, or too long to be an option.
fn is_content(arg: &str) -> bool {
    arg.len() > ARGUMENT_MAX || arg.contains(['{', '\n']) || CONTENT_OPTIONS.iter().any(|o| is_glued(arg, o))
}

/// `--json={}`, `-dtext`.
fn is_glued(arg: &str, option: &str) -> bool {
    let rest = arg.strip_prefix(option).unwrap_or_default();
    rest.starts_with('=') || (option == "-d" && !rest.is_empty())
}

fn masked(arg: &str) -> String {
    if let Some((name, value)) = arg.split_once('=')
        && is_secret_name(name)
        && !value.is_empty()
    {
        return format!("{name}={MASK}");
    }
    if let Some(colon) = arg.find(':').filter(|colon| is_header(arg, *colon)) {
        return format!("{}: {MASK}", arg.get(..colon).unwrap_or_default());
    }
    words(arg)
}

/// An HTTP header that authenticates, as in `curl -H`.
fn is_header(arg: &str, colon: usize) -> bool {
    let name = arg.get(..colon).unwrap_or_default();
    let word = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    word && (is_secret_name(name)
        || name.eq_ignore_ascii_case("cookie")
        || name.eq_ignore_ascii_case("authorization"))
}

/// Masks what looks like a secret wherever it stands: `sk-...`, `Bearer x`, `user:password@`.
fn words(arg: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut after_bearer = false;
    for word in arg.split(' ') {
        let looks = ["sk-", "hf_", "ghp_", "xoxb-"]
            .iter()
            .any(|prefix| word.len() > 12 && word.contains(prefix));
        out.push(if looks || (after_bearer && !word.is_empty()) {
            MASK.to_owned()
        } else {
            without_userinfo(word)
        });
        after_bearer = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
    }
    out.join(" ")
}

fn without_userinfo(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{MASK}{}", rest.get(at..).unwrap_or_default()),
        None => word.to_owned(),
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name
        .trim_start_matches('-')
        .to_ascii_lowercase()
        .replace('_', "-");
    SECRET_NAMES.iter().any(|word| name.contains(word)) && !HARMLESS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask(args: &[&str]) -> Vec<String> {
        argv(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn masks_values_of_secret_options_and_variables() {
        assert_eq!(
            mask(&["llama-server", "--api-key", "abc", "-m", "x.gguf"]),
            ["llama-server", "--api-key", "***", "-m", "x.gguf"]
        );
        assert_eq!(
            mask(&["--api-key=abc", "HF_TOKEN=abc", "--port=80"]),
            ["--api-key=***", "HF_TOKEN=***", "--port=80"]
        );
        assert_eq!(
            mask(&["-H", "Authorization: Bearer abc"]),
            ["-H", "Authorization: ***"]
        );
        assert_eq!(
            mask(&["x-api-key: abc", "https://u:p@h/x"]),
            ["x-api-key: ***", "https://***@h/x"]
        );
    }

    #[test]
    fn masks_what_a_client_sends() {
        let args = [
            "curl",
            "-d",
            "tell me",
            "--data-raw",
            "tell me",
            "{\"messages\":[]}",
            "-dtell",
            "http://x/",
        ];
        assert_eq!(
            mask(&args),
            [
                "curl",
                "-d",
                "***",
                "--data-raw",
                "***",
                "***",
                "***",
                "http://x/"
            ]
        );
        assert_eq!(
            mask(&["python", "-c", "import x\nprint(1)"]),
            ["python", "-c", "***"]
        );
    }

    #[test]
    fn keeps_what_is_no_secret() {
        let args = [
            "--ssl-key-file",
            "k.pem",
            "--max-tokens",
            "5",
            "-c",
            "2048",
            "http://127.0.0.1:80/v1",
        ];
        assert_eq!(mask(&args), args);
    }

    proptest! {
        #[test]
        fn a_secret_never_comes_through(secret in "[A-Z0-9]{8,20}", form in 0usize..6) {
            let args = match form {
                0 => vec!["--api-key".to_owned(), secret.clone()],
                1 => vec![format!("--token={secret}")],
                2 => vec![format!("DB_PASSWORD={secret}")],
                3 => vec!["-H".to_owned(), format!("Authorization: Bearer {secret}")],
                4 => vec![format!("sk-{secret}xxxx")],
                _ => vec![format!("https://user:{secret}@host/")],
            };
            prop_assert!(!argv(&args).concat().contains(&secret));
        }
    }
}
