//! Go's own `crypto/tls`: no library, the program is it.
//!
//! In: an ELF file built by Go. Out: the functions of `crypto/tls.(*Conn)` and every place where they return. Go moves the
//! stacks of its goroutines, which a return probe does not survive: instead each `RET` instruction is probed. Functions
//! are found by the table that the runtime itself walks its stacks with, which stripping leaves in place. Never: a probe
//! inside of an instruction; a panic, whatever the file holds.

mod pclntab;
mod returns;

use super::elf::{Function, Image, Site};
use super::{Found, places};
use pclntab::Table;

/// Marks what `go version` reads.
const BUILD_INFO: &str = ".go.buildinfo";
/// In position-independent programs the table has to be relocated.
const TABLE: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// What is probed at its first instruction, and what at its returns.
const FUNCTIONS: [(&str, Function, Option<Function>); 5] = [
    (
        "crypto/tls.(*Conn).Read",
        Function::GoCall,
        Some(Function::GoReadReturn),
    ),
    (
        "crypto/tls.(*Conn).Write",
        Function::GoCall,
        Some(Function::GoWriteReturn),
    ),
    ("crypto/tls.(*Conn).serverHandshake", Function::GoHandshake, None),
    ("crypto/tls.(*Conn).clientHandshake", Function::GoHandshake, None),
    ("crypto/tls.(*Conn).Close", Function::GoClose, None),
];
/// Without the first two nothing is seen.
const NEEDED: usize = 2;

pub fn is_go(image: &Image<'_>) -> bool {
    image.has(BUILD_INFO)
}

/// What a program of Go has of TLS; None when it does not use any.
pub fn examine(image: &Image<'_>) -> Option<Found> {
    let (sites, problem) = match sites(image) {
        Ok(sites) if sites.is_empty() => return None,
        Ok(sites) => (sites, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    Some(Found {
        library: "go",
        version: image.section(&[BUILD_INFO]).and_then(|info| version(&info)),
        sites,
        problem,
    })
}

fn sites(image: &Image<'_>) -> Result<Vec<Site>, &'static str> {
    let data = image
        .section(&TABLE)
        .ok_or("the program has no table of its functions")?;
    let table = Table::parse(&data, image.address(".text"))
        .ok_or("the program was built by a Go whose table of functions is not known: older than 1.18")?;
    let names = FUNCTIONS.map(|(name, ..)| name);
    let places = table.find(&names);
    let mut sites = Vec::new();
    for (n, (place, (_, entry, returns))) in places.iter().zip(FUNCTIONS).enumerate() {
        match place {
            Some(place) => sites.extend(function(image, place, entry, returns)?),
            // The linker leaves functions out that nobody calls: such a program does no TLS.
            None if n < NEEDED => return Ok(Vec::new()),
            None => {}
        }
    }
    Ok(sites)
}

fn function(
    image: &Image<'_>,
    place: &std::ops::Range<u64>,
    entry: Function,
    returns: Option<Function>,
) -> Result<Vec<Site>, &'static str> {
    let missing = "a function is not where the program's table says";
    let start = image.file_offset(place.start).ok_or(missing)?;
    let mut sites = places::of(image, &[(entry, place.start)]);
    let Some(returned) = returns else { return Ok(sites) };
    let code = image
        .code(place.start, place.end.saturating_sub(place.start))
        .ok_or(missing)?;
    let offsets = returns::offsets(&code, image.is_x86_64())
        .ok_or("the instructions of a function cannot be told apart")?;
    sites.extend(offsets.into_iter().map(|at| Site {
        function: returned,
        offset: start + at,
    }));
    Ok(sites)
}

/// The release in `.go.buildinfo` (debug/buildinfo): 14 bytes of magic, pointer size, flags; at 32 the length and the text
/// `go1.24.4`. Before 1.18 there was an address instead.
fn version(info: &[u8]) -> Option<String> {
    const INLINE: u8 = 2;
    let inline = info.starts_with(b"\xff Go buildinf:") && info.get(15)? & INLINE != 0;
    let len = usize::from(*info.get(32)?);
    let text = info.get(33..33 + len)?;
    let release = text.strip_prefix(b"go").filter(|_| inline)?;
    let plain = release
        .iter()
        .all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    plain.then(|| release.iter().map(|byte| char::from(*byte)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_release() {
        let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
        info.resize(32, 0);
        info.extend(b"\x08go1.24.4\x00");
        assert_eq!(version(&info).as_deref(), Some("1.24.4"));
        for cut in 0..info.len() - 1 {
            assert_eq!(version(&info[..cut]), None);
        }
    }
}
