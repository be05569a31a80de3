//! TLS functions in an ELF file.
//!
//! In: a file that a process executes, untrusted. Out: [`Found`], or None when it has nothing of TLS. Only the headers,
//! the symbol tables and one section are read. Never: a panic, whatever the file holds.

mod image;
mod symbols;

use super::{Found, go, places};
use image::Cache;
pub use image::Image;
use memchr::memmem;
use std::fs::File;
use symbols::Symbols;

/// What a function does, which says which programs are attached to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Function {
    /// `(session, buffer, length) -> bytes`
    Read,
    Write,
    /// `(session, buffer, length, *bytes) -> 1`
    ReadEx,
    WriteEx,
    /// `(session, buffer, length, flags, *bytes) -> 1`
    WriteEx2,
    /// `(..) -> session`
    New,
    /// `(*session, ..) -> 0`
    Init,
    /// `(session)`
    Free,
    /// Go: `(*Conn, buffer, length, capacity)`
    GoCall,
    /// A `RET` of Go's functions: `(bytes, error)`
    GoReadReturn,
    GoWriteReturn,
    /// Go: `(*Conn)`, before the first byte of a session
    GoHandshake,
    GoClose,
}

/// A function and its place in the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Site {
    pub function: Function,
    pub offset: u64,
}

/// Functions by name: OpenSSL and BoringSSL share theirs. Each library's first two must be there.
const OPENSSL: &[(&str, Function)] = &[
    ("SSL_read", Function::Read),
    ("SSL_write", Function::Write),
    ("SSL_read_ex", Function::ReadEx),
    ("SSL_write_ex", Function::WriteEx),
    ("SSL_write_ex2", Function::WriteEx2),
    ("SSL_new", Function::New),
    ("SSL_free", Function::Free),
];
const GNUTLS: &[(&str, Function)] = &[
    ("gnutls_record_recv", Function::Read),
    ("gnutls_record_send", Function::Write),
    ("gnutls_init", Function::Init),
    ("gnutls_deinit", Function::Free),
];

/// Programs mention older releases in their messages too.
const VERSIONS_LOOKED_AT: usize = 64;

/// Symbols that only BoringSSL has, and that only libcrypto has, which knows the release.
const BORINGSSL_ONLY: &str = "SSL_CTX_set_grease_enabled";
const CRYPTO_ONLY: &str = "OpenSSL_version";

pub fn examine(file: &File) -> Option<Found> {
    let cache = Cache::new(file);
    let image = Image::parse(file, &cache)?;
    if go::is_go(&image) {
        return go::examine(&image);
    }
    let mut wanted: Vec<&str> = OPENSSL.iter().chain(GNUTLS).map(|(name, _)| *name).collect();
    wanted.extend([BORINGSSL_ONLY, CRYPTO_ONLY]);
    let symbols = Symbols::of(&image, &wanted);
    let found = |library, name, sites| {
        Some(Found {
            library,
            version: version(&image, name),
            sites,
            problem: None,
        })
    };
    if let Some(sites) = sites(&image, &symbols, OPENSSL) {
        let boringssl = symbols.has(BORINGSSL_ONLY);
        return found(
            if boringssl { "boringssl" } else { "openssl" },
            b"OpenSSL ",
            sites,
        );
    }
    if let Some(sites) = sites(&image, &symbols, GNUTLS) {
        return found("gnutls", b"GnuTLS ", sites);
    }
    if symbols.has(CRYPTO_ONLY) {
        return found("openssl", b"OpenSSL ", Vec::new());
    }
    blind(&image)
}

/// TLS that is there and cannot be seen into: by what its code says in its messages.
const BLIND: [(&[u8], &str, &str); 3] = [
    (
        b"/rustls-0.",
        "rustls",
        "rustls has no stable functions to probe: it is compiled into its program",
    ),
    (b"OPENSSL_internal", "openssl", STRIPPED),
    (b"tls1_PRF", "openssl", STRIPPED),
];
const STRIPPED: &str = "a TLS library is linked in without its symbols, so its functions cannot be found";

fn blind(image: &Image<'_>) -> Option<Found> {
    let texts = BLIND.map(|(text, ..)| text);
    let (_, library, problem) = BLIND.get(image.mentions(&texts)?)?;
    Some(Found {
        library,
        problem: Some(problem),
        ..Found::default()
    })
}

/// Where the functions are; None when the library's first two are not.
fn sites(image: &Image<'_>, symbols: &Symbols, functions: &[(&'static str, Function)]) -> Option<Vec<Site>> {
    if !functions.iter().take(2).all(|(name, _)| symbols.has(name)) {
        return None;
    }
    let named = |(name, function): &(&str, Function)| Some((*function, symbols.address(name)?));
    let named: Vec<_> = functions.iter().filter_map(named).collect();
    Some(places::of(image, &named))
}

/// The release that follows `name` in the read-only data, the most exact one: `OpenSSL 3.0.15`.
fn version(image: &Image<'_>, name: &[u8]) -> Option<String> {
    let mut releases: Vec<String> = Vec::new();
    image.search(|piece| {
        let tails = memmem::find_iter(piece, name).filter_map(|at| piece.get(at + name.len()..));
        let numbered = tails.filter(|tail| tail.first().is_some_and(u8::is_ascii_digit));
        releases.extend(numbered.map(release));
        releases.len() >= VERSIONS_LOOKED_AT
    });
    releases
        .into_iter()
        .max_by_key(|release| release.matches('.').count())
}

fn release(text: &[u8]) -> String {
    let release = text
        .iter()
        .take(32)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(byte));
    release.map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_that_is_no_elf_has_nothing() {
        assert!(examine(&file(b"#!/bin/sh\n")).is_none());
        assert!(examine(&file(b"")).is_none());
    }

    #[test]
    fn a_cut_or_damaged_elf_is_no_panic() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let head = own.get(..own.len().min(256 * 1024)).unwrap();
        for cut in [4, 63, 64, 200, 4096, head.len()] {
            examine(&file(&head[..cut.min(head.len())]));
        }
        for at in (0..1024).step_by(7) {
            let mut damaged = head.to_vec();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0xff;
            }
            examine(&file(&damaged));
        }
    }
}
