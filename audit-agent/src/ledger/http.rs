//! The little HTTP that logs and witnesses speak: one request on one connection, without TLS.
//!
//! In: an address and a request. Out: the whole response, or an error that names the address. What is fetched is
//! signed, so a transport that anybody could change is enough; for privacy put a proxy with TLS before it.

pub mod server;

use super::source::Source;
use crate::limits;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An `http://` address; a path is joined to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    authority: String,
    prefix: String,
}

impl Url {
    /// Reads `http://host[:port][/prefix]`.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("http://")?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#');
        let good = !authority.is_empty() && text.chars().all(plain);
        good.then(|| Self {
            authority: authority.into(),
            prefix: prefix.trim_end_matches('/').into(),
        })
    }

    fn target(&self, path: &str) -> String {
        match self.prefix.as_str() {
            "" => format!("/{path}"),
            prefix => format!("/{prefix}/{path}"),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let port = self
            .authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if port {
            self.authority.clone()
        } else {
            format!("{}:80", self.authority)
        };
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{authority} has no address"));
        for address in authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(TIMEOUT))?;
                    stream.set_write_timeout(Some(TIMEOUT))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/{}", self.authority, self.prefix)
    }
}

/// What came back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Response {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
}

/// Sends a request (HTTP/1.0, so that no answer is chunked) and reads the response to its end.
pub fn request(url: &Url, method: &str, path: &str, body: &[u8]) -> io::Result<Response> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{url}: {error}"));
    let mut stream = url.connect().map_err(named)?;
    let head = format!(
        "{method} {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: audit-agent/{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        url.target(path),
        url.authority,
        env!("CARGO_PKG_VERSION"),
        body.len(),
    );
    stream
        .write_all(&[head.as_bytes(), body].concat())
        .map_err(named)?;
    let mut bytes = Vec::new();
    let most = limits::RESOURCE_BYTES + limits::HTTP_HEAD_BYTES as u64;
    (&mut stream).take(most).read_to_end(&mut bytes).map_err(named)?;
    let broken = || {
        named(io::Error::new(
            io::ErrorKind::InvalidData,
            "no whole HTTP response",
        ))
    };
    response(&bytes).ok_or_else(broken)
}

/// Reads a response whose end is the connection's; None when it is not whole.
pub fn response(bytes: &[u8]) -> Option<Response> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(at) = head.parse(bytes).ok()? else {
        return None;
    };
    let header = |name: &str| {
        let found = head
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::trim)
    };
    let body = bytes.get(at..)?;
    if header("transfer-encoding").is_some() {
        return None;
    }
    let body = match header("content-length") {
        Some(len) => body.get(..len.parse().ok()?)?,
        None => body,
    };
    Some(Response {
        status: head.code?,
        content_type: header("content-type").unwrap_or_default().into(),
        body: body.into(),
    })
}

/// A log that a server offers as C2SP tlog-tiles.
#[derive(Debug)]
pub struct Remote(pub Url);

impl Source for Remote {
    fn fetch(&mut self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let response = request(&self.0, "GET", path, b"")?;
        match response.status {
            200 => Ok(Some(response.body)),
            404 | 410 => Ok(None),
            status => Err(io::Error::other(format!("{}/{path}: status {status}", self.0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read_with_their_prefix() {
        let url = Url::parse("http://127.0.0.1:8080/logs/a/").unwrap();
        assert_eq!(url.target("tile/0/000"), "/logs/a/tile/0/000");
        assert_eq!(
            Url::parse("http://h").unwrap().target("checkpoint"),
            "/checkpoint"
        );
        for wrong in [
            "https://h/",
            "http://",
            "h",
            "http://a b/",
            "http://u@h/",
            "http://h/\r\nX: y",
        ] {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_response_cut_anywhere_is_not_whole(cut in 0usize..1000) {
            let whole = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
            let cut = cut % whole.len();
            prop_assert!(response(&whole[..cut]).is_none());
            prop_assert_eq!(response(whole).unwrap().body, b"hello");
        }

        #[test]
        fn hostile_responses_do_no_harm(bytes in any::<Vec<u8>>()) {
            response(&bytes);
            response(&[b"HTTP/1.1 200 OK\r\n", bytes.as_slice()].concat());
        }
    }
}
