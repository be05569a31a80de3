//! TLS functions in an ELF file.
//!
//! In: a file that a process executes, untrusted. Out: [`Found`], or None when it has nothing of TLS. Only the headers,
//! the symbol tables and one section are read. Never: a panic, whatever the file holds.

use super::Found;
use object::read::ReadCache;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, ReadRef};
use std::collections::HashMap;
use std::fs::File;

/// What a function does, which says which programs are attached to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Function {
    /// `(session, buffer, length) -> bytes`
    Read,
    Write,
    /// `(session, buffer, length, *bytes) -> 1`
    ReadEx,
    WriteEx,
    /// `(..) -> session`
    New,
    /// `(*session, ..) -> 0`
    Init,
    /// `(session)`
    Free,
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

/// A symbol that only BoringSSL has.
const BORINGSSL_ONLY: &str = "SSL_CTX_set_grease_enabled";

pub fn examine(file: &File) -> Option<Found> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).ok()?;
    let wanted: Vec<&str> = OPENSSL.iter().chain(GNUTLS).map(|(name, _)| *name).collect();
    let symbols = symbols(&elf, &wanted);
    let openssl = sites(&elf, &symbols.places, OPENSSL);
    let gnutls = sites(&elf, &symbols.places, GNUTLS);
    if !openssl.is_empty() {
        let library = if symbols.boringssl { "boringssl" } else { "openssl" };
        return Some(Found {
            library,
            version: version(&elf, b"OpenSSL "),
            sites: openssl,
            problem: None,
        });
    }
    if !gnutls.is_empty() {
        return Some(Found {
            library: "gnutls",
            version: version(&elf, b"GnuTLS "),
            sites: gnutls,
            problem: None,
        });
    }
    if symbols.crypto {
        return Some(Found {
            library: "openssl",
            version: version(&elf, b"OpenSSL "),
            ..Found::default()
        });
    }
    blind(&elf, &symbols)
}

/// TLS that is there and cannot be seen into.
fn blind<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, symbols: &Symbols) -> Option<Found> {
    let found = |library, problem| {
        Some(Found {
            library,
            problem: Some(problem),
            ..Found::default()
        })
    };
    if elf.section_by_name(".go.buildinfo").is_some() {
        return found("go", "Go's crypto/tls is not probed by this version");
    }
    if symbols.rustls || mentions(elf, b"/rustls-0.") {
        return found(
            "rustls",
            "rustls has no stable functions to probe: it is compiled into its program",
        );
    }
    if mentions(elf, b"OPENSSL_internal") || mentions(elf, b"tls1_PRF") {
        return found(
            "openssl",
            "a TLS library is linked in without its symbols, so its functions cannot be found",
        );
    }
    None
}

/// What the symbol tables say.
#[derive(Debug, Default)]
struct Symbols {
    /// Address by name.
    places: HashMap<&'static str, u64>,
    boringssl: bool,
    crypto: bool,
    rustls: bool,
}

fn symbols<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, wanted: &[&'static str]) -> Symbols {
    let mut found = Symbols::default();
    for symbol in elf.dynamic_symbols().chain(elf.symbols()) {
        let Ok(name) = symbol.name() else { continue };
        if symbol.is_undefined() || symbol.address() == 0 {
            continue;
        }
        // The dynamic table has versions in the names of some tool chains: `SSL_read@@OPENSSL_3.0.0`.
        let bare = name.split('@').next().unwrap_or(name);
        if let Some(wanted) = wanted.iter().find(|wanted| **wanted == bare) {
            found.places.entry(wanted).or_insert(symbol.address());
        }
        found.boringssl |= bare == BORINGSSL_ONLY;
        found.crypto |= bare == "OpenSSL_version";
        found.rustls |= bare.contains("6rustls");
    }
    found
}

fn sites<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    places: &HashMap<&'static str, u64>,
    functions: &[(&'static str, Function)],
) -> Vec<Site> {
    let needed = functions.iter().take(2);
    if !needed.into_iter().all(|(name, _)| places.contains_key(name)) {
        return Vec::new();
    }
    let mut sites: Vec<Site> = Vec::new();
    for (name, function) in functions {
        let offset = places.get(name).and_then(|address| file_offset(elf, *address));
        if let Some(offset) = offset {
            sites.push(Site {
                function: *function,
                offset,
            });
        }
    }
    sites
}

/// Uprobes are placed by offset in the file, not by address.
fn file_offset<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let inside = address.checked_sub(segment.address())?;
        let (start, len) = segment.file_range();
        (inside < len).then(|| start.saturating_add(inside))
    })
}

/// The release that follows `name` in the read-only data, the most exact one: `OpenSSL 3.0.15`.
fn version<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, name: &[u8]) -> Option<String> {
    let data = elf.section_by_name(".rodata")?.data().ok()?;
    let places = data
        .windows(name.len() + 1)
        .enumerate()
        .filter(|(_, window)| window.starts_with(name) && window.last().is_some_and(u8::is_ascii_digit));
    let releases = places.take(VERSIONS_LOOKED_AT).filter_map(|(at, _)| {
        let tail = data.get(at + name.len()..)?;
        let release = tail
            .iter()
            .take(32)
            .take_while(|byte| byte.is_ascii_alphanumeric() || b".+-".contains(byte));
        Some(release.map(|byte| char::from(*byte)).collect::<String>())
    });
    releases.max_by_key(|release| release.matches('.').count())
}

fn mentions<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, text: &[u8]) -> bool {
    let data = elf
        .section_by_name(".rodata")
        .and_then(|section| section.data().ok());
    data.is_some_and(|data| data.windows(text.len()).any(|window| window == text))
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
