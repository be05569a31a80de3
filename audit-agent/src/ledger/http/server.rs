//! A server for a few resources: one thread for each connection, one request on each.
//!
//! In: a listener and what answers. Out: responses. Never: a request above its cap, or waited for without end.

use super::Response;
use crate::limits;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// What was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub method: String,
    /// With its leading `/`.
    pub path: String,
    pub body: Vec<u8>,
}

impl Response {
    /// A short text.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8".into(),
            body: body.into().into_bytes(),
        }
    }
}

/// Answers for ever.
pub fn serve(
    listener: &TcpListener,
    answer: impl Fn(Request) -> Response + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let (stream, _) = match listener.accept() {
            Ok(accepted) => accepted,
            // The peer was gone already, or descriptors ran out: the next may do.
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::Relaxed) >= limits::SERVED_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (answer, open) = (Arc::clone(&answer), Arc::clone(&open));
        std::thread::spawn(move || {
            if let Err(error) = one(stream, &*answer) {
                tracing::debug!(%error, "a request was not answered");
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn one(mut stream: TcpStream, answer: &impl Fn(Request) -> Response) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let response = match read(&mut stream)? {
        Some(request) => answer(request),
        None => Response::text(400, "not understood\n"),
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        reason(response.status),
        response.content_type,
        response.body.len()
    );
    stream.write_all(&[head.as_bytes(), &response.body].concat())?;
    stream.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        422 => "Unprocessable Content",
        500 => "Internal Server Error",
        _ => "Bad Request",
    }
}

/// Reads until the request is whole.
fn read(stream: &mut impl Read) -> io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    while bytes.len() < limits::REQUEST_BYTES {
        match parse(&bytes) {
            Parsed::Whole(request) => return Ok(Some(request)),
            Parsed::Wrong => return Ok(None),
            Parsed::Part => {}
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
    Ok(None)
}

/// What the bytes so far are.
#[derive(Debug, Eq, PartialEq)]
enum Parsed {
    Whole(Request),
    Part,
    Wrong,
}

fn parse(bytes: &[u8]) -> Parsed {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut headers);
    let at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Parsed::Part,
        Err(_) => return Parsed::Wrong,
    };
    if values(head.headers, "transfer-encoding").next().is_some() {
        return Parsed::Wrong;
    }
    let lengths: Vec<Option<usize>> = values(head.headers, "content-length")
        .map(|len| std::str::from_utf8(len).ok()?.parse().ok())
        .collect();
    let len = match lengths.as_slice() {
        [] => 0,
        [Some(len)] if *len < limits::REQUEST_BYTES => *len,
        _ => return Parsed::Wrong,
    };
    let (Some(method), Some(path)) = (head.method, head.path) else {
        return Parsed::Wrong;
    };
    match bytes.get(at..at + len) {
        Some(body) => Parsed::Whole(Request {
            method: method.into(),
            path: path.into(),
            body: body.into(),
        }),
        None => Parsed::Part,
    }
}

fn values<'a>(headers: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_request_is_whole_only_at_its_end(cut in 0usize..1000) {
            let whole = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\n\r\nold 0";
            prop_assert_eq!(parse(&whole[..cut % whole.len()]), Parsed::Part);
            let Parsed::Whole(request) = parse(whole) else { panic!("not whole") };
            prop_assert_eq!((request.path.as_str(), request.body.as_slice()), ("/add-checkpoint", &b"old 0"[..]));
        }

        #[test]
        fn hostile_requests_do_no_harm(bytes in any::<Vec<u8>>()) {
            parse(&bytes);
            parse(&[b"POST / HTTP/1.1\r\nContent-Length: ", bytes.as_slice()].concat());
        }
    }
}
