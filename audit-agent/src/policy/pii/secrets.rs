//! Keys, tokens and passwords in a text.
//!
//! In: the bytes from where one may begin, and what stands before. Out: its length. Known forms only: a prefix that issuers
//! use, three parts of base64url, a PEM block, or a word behind `Bearer`, `password=` and the like.

/// Prefixes of issuers, and how long the rest is at least.
const PREFIXES: &[(&[u8], usize)] = &[
    (b"sk-", 16),
    (b"sk_live_", 10),
    (b"sk_test_", 10),
    (b"rk_live_", 10),
    (b"pk_live_", 10),
    (b"hf_", 16),
    (b"ghp_", 16),
    (b"gho_", 16),
    (b"ghs_", 16),
    (b"ghu_", 16),
    (b"github_pat_", 16),
    (b"glpat-", 16),
    (b"xoxb-", 10),
    (b"xoxp-", 10),
    (b"xoxa-", 10),
    (b"AKIA", 16),
    (b"ASIA", 16),
    (b"AIza", 30),
    (b"ya29.", 20),
    (b"npm_", 30),
    (b"pypi-", 30),
    (b"AGE-SECRET-KEY-1", 30),
];

/// Words behind which a secret stands, with what is between.
const LABELS: &[&[u8]] = &[
    b"bearer ",
    b"basic ",
    b"password=",
    b"password: ",
    b"passwd=",
    b"passwd: ",
    b"secret=",
    b"secret: ",
    b"token=",
    b"token: ",
    b"api_key=",
    b"api_key: ",
    b"apikey=",
    b"api-key: ",
];

/// Shortest word behind a label that is taken for a secret: `token: yes` is none.
const LABELLED: usize = 6;
/// Longest JWT header.
const JWT_HEADER: usize = 1024;
/// Longest PEM block: a 16384-bit RSA key.
const PEM: usize = 16 * 1024;

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~+/=".contains(&byte)
}

/// The length of a token that has `least` bytes at least. The rest is read only when it has, so that it is read once.
fn token(bytes: &[u8], least: usize) -> Option<usize> {
    let head = bytes.get(..least)?;
    let whole = || bytes.iter().take_while(|byte| is_token(**byte)).count();
    head.iter().all(|byte| is_token(*byte)).then(whole)
}

pub fn find(rest: &[u8], before: &[u8]) -> Option<usize> {
    pem(rest).or_else(|| {
        let first = *rest.first()?;
        if !is_token(first) {
            return None;
        }
        prefixed(rest)
            .or_else(|| jwt(rest))
            .or_else(|| labelled(rest, before))
    })
}

fn prefixed(rest: &[u8]) -> Option<usize> {
    let (prefix, least) = PREFIXES.iter().find(|(prefix, _)| rest.starts_with(prefix))?;
    token(rest, prefix.len() + least)
}

/// RFC 7519: the header is a JSON object, so its base64url begins with `eyJ`; a payload of 8 bytes at least follows.
fn jwt(rest: &[u8]) -> Option<usize> {
    if !rest.starts_with(b"eyJ") {
        return None;
    }
    let header = rest.iter().take(JWT_HEADER).position(|byte| *byte == b'.')?;
    if header < 8 || rest.get(header + 1) == Some(&b'.') {
        return None;
    }
    token(rest, header + 1 + 8)
}

fn labelled(rest: &[u8], before: &[u8]) -> Option<usize> {
    let stands = |label: &&&[u8]| {
        let from = before.len().checked_sub(label.len());
        let text = from.and_then(|from| before.get(from..));
        text.is_some_and(|text| text.eq_ignore_ascii_case(label))
    };
    LABELS.iter().find(stands)?;
    let length = rest
        .iter()
        .take_while(|byte| !byte.is_ascii_whitespace() && !b"\"'<>".contains(byte))
        .count();
    (length >= LABELLED).then_some(length)
}

fn pem(rest: &[u8]) -> Option<usize> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const PRIVATE: &[u8] = b"PRIVATE KEY-----";
    const END: &[u8] = b"-----END ";
    if !rest.starts_with(BEGIN) {
        return None;
    }
    let head = rest.get(..rest.len().min(64))?;
    head.windows(PRIVATE.len()).position(|window| window == PRIVATE)?;
    let block = rest.get(..rest.len().min(PEM))?;
    let end = block.windows(END.len()).position(|window| window == END);
    // Without its end, all that may belong to it goes.
    let Some(end) = end else { return Some(ascii(block)) };
    let tail = block.get(end + END.len()..)?;
    let dashes = tail.windows(5).position(|window| window == b"-----");
    Some(dashes.map_or(end + END.len(), |dashes| end + END.len() + dashes + 5))
}

/// The length up to the first byte that is not ASCII, so that no character is cut in two.
fn ascii(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii()).count()
}
