//! Heads of HTTP/1 messages: request line or status line, header fields, and the framing that follows.
//!
//! In: the bytes of one head, up to and with its empty line. Out: the head and how long the body is
//! (RFC 9112 section 6.3). Never: a guess where length fields contradict each other.

use crate::http::{Headers, HttpVersion, RequestHead, ResponseHead};
use crate::limits;
use httparse::Header;

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
    /// Another protocol begins.
    Tunnel,
}

/// Parses a request head; the error says what is wrong with it.
pub fn request(bytes: &[u8]) -> Result<(RequestHead, Framing), &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("request head without an end"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(_) => return Err("malformed request head"),
    }
    let head = RequestHead {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        version: HttpVersion::of_minor(parsed.version),
        headers: headers(parsed.headers),
    };
    let framing = match length(&head.headers)? {
        Some(framing) => framing,
        None => Framing::None,
    };
    Ok((head, framing))
}

/// Parses a response head; the body's framing depends on the method that it answers.
pub fn response(bytes: &[u8], method: Option<&str>) -> Result<(ResponseHead, Framing), &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; limits::HTTP_HEADERS];
    let mut parsed = httparse::Response::new(&mut fields);
    let config = &mut httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    match config.parse_response(&mut parsed, bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("response head without an end"),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(_) => return Err("malformed response head"),
    }
    let head = ResponseHead {
        status: parsed.code.unwrap_or_default(),
        version: HttpVersion::of_minor(parsed.version),
        headers: headers(parsed.headers),
    };
    let framing = response_framing(&head, method)?;
    Ok((head, framing))
}

fn response_framing(head: &ResponseHead, method: Option<&str>) -> Result<Framing, &'static str> {
    match (head.status, method) {
        (101, _) => Ok(Framing::Tunnel),
        (200..=299, Some("CONNECT")) => Ok(Framing::Tunnel),
        (100..=199 | 204 | 304, _) | (_, Some("HEAD")) => Ok(Framing::None),
        _ => Ok(length(&head.headers)?.unwrap_or(Framing::UntilClose)),
    }
}

/// Transfer-Encoding comes before Content-Length; a coding whose last one is not chunked has no known end.
fn length(headers: &Headers) -> Result<Option<Framing>, &'static str> {
    let mut codings = headers
        .all("transfer-encoding")
        .flat_map(|value| value.split(','))
        .peekable();
    if codings.peek().is_some() {
        let last = codings.last().unwrap_or_default().trim();
        let chunked = last.eq_ignore_ascii_case("chunked");
        return Ok(Some(if chunked {
            Framing::Chunked
        } else {
            Framing::UntilClose
        }));
    }
    let mut found = None;
    for value in headers.all("content-length").flat_map(|value| value.split(',')) {
        let value = value.trim();
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("content-length is not a number");
        }
        let length: u64 = value.parse().map_err(|_| "content-length is too large")?;
        if found.is_some_and(|other| other != length) {
            return Err("content-length contradicts itself");
        }
        found = Some(length);
    }
    Ok(found.map(Framing::Length))
}

fn headers(fields: &[Header<'_>]) -> Headers {
    let pair = |field: &Header<'_>| {
        (
            field.name.to_ascii_lowercase(),
            String::from_utf8_lossy(field.value).trim().to_owned(),
        )
    };
    Headers(fields.iter().map(pair).collect())
}

/// Whether `line` (without its end) is a request line that can be believed without knowing where it stands.
pub fn is_request_line(line: &[u8]) -> bool {
    let Some(rest) = line
        .strip_suffix(b" HTTP/1.1")
        .or_else(|| line.strip_suffix(b" HTTP/1.0"))
    else {
        return false;
    };
    let Some(space) = rest.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let (method, target) = rest.split_at(space);
    let target = &target[1..];
    (3..=16).contains(&method.len())
        && method.iter().all(u8::is_ascii_uppercase)
        && (target.first() == Some(&b'/') || target == b"*" || target.starts_with(b"http"))
        && target.iter().all(u8::is_ascii_graphic)
}

/// What a request line alone says.
pub fn of_line(line: &str) -> Option<RequestHead> {
    let mut words = line.split(' ');
    Some(RequestHead {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        version: HttpVersion::default(),
        headers: Headers::default(),
    })
}

/// Whether `line` (without its end) is a status line.
pub fn is_status_line(line: &[u8]) -> bool {
    let Some(rest) = line
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| line.strip_prefix(b"HTTP/1.0 "))
    else {
        return false;
    };
    let Some((code, reason)) = rest.split_at_checked(3) else {
        return false;
    };
    code.iter().all(u8::is_ascii_digit)
        && matches!(code.first(), Some(b'1'..=b'5'))
        && (reason.is_empty() || reason.first() == Some(&b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradicting_lengths_are_malformed() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n";
        assert_eq!(request(head).unwrap_err(), "content-length contradicts itself");
        let head = b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n";
        assert_eq!(request(head).unwrap_err(), "content-length is not a number");
    }

    #[test]
    fn transfer_encoding_comes_before_content_length() {
        let head = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n";
        assert_eq!(request(head).unwrap().1, Framing::Chunked);
    }

    #[test]
    fn responses_without_bodies_have_none() {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(response(head, Some("HEAD")).unwrap().1, Framing::None);
        assert_eq!(
            response(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", None)
                .unwrap()
                .1,
            Framing::None
        );
        assert_eq!(
            response(b"HTTP/1.1 200 OK\r\n\r\n", Some("GET")).unwrap().1,
            Framing::UntilClose
        );
    }

    #[test]
    fn tells_start_lines_from_other_text() {
        assert!(is_request_line(b"POST /v1/chat/completions HTTP/1.1"));
        assert!(!is_request_line(b"post /x HTTP/1.1"));
        assert!(!is_request_line(b"say POST /x HTTP/1.1"));
        assert!(is_status_line(b"HTTP/1.1 200 OK"));
        assert!(is_status_line(b"HTTP/1.0 404"));
        assert!(!is_status_line(b"HTTP/1.1 999 Odd"));
    }
}
