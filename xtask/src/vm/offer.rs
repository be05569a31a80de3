//! Which kernels an archive has.
//!
//! In: its packages with their versions. Out: those of each series.

use anyhow::{Context, Result};
use std::process::{Command, Stdio};

/// The kernels of one series, oldest first; never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Offer {
    pub series: String,
    pub packages: Vec<Package>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Package {
    pub name: String,
    pub version: String,
}

/// The offer for a series, or for `newest`.
pub fn find<'a>(offers: &'a [Offer], series: &str) -> Result<&'a Offer> {
    let found = match series {
        "newest" => offers.last(),
        _ => offers.iter().find(|offer| offer.series == series),
    };
    found.with_context(|| {
        format!("the archive has no kernel {series}; `cargo xtask vm --list` shows what it has")
    })
}

/// What lines `package | version | source` offer, oldest series first.
///
/// Since 6.19 `linux-image-*` is empty and `linux-binary-*` has the kernel.
pub fn all(lines: &str) -> Result<Vec<Offer>> {
    let mut rows = String::new();
    for line in lines.lines() {
        let mut columns = line.split('|').map(str::trim);
        let (Some(package), Some(version)) = (columns.next(), columns.next()) else {
            continue;
        };
        let abi = package
            .trim_start_matches("linux-image-")
            .trim_start_matches("linux-binary-");
        let binary = format!("linux-binary-{abi}");
        if package == binary || !lines.contains(&binary) {
            rows += &format!("{} {version} {package}\n", series_of(abi));
        }
    }
    Ok(by_series(&by_version(&rows)?))
}

fn by_series(rows: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for row in rows.lines() {
        let [series, version, name] = row.split(' ').collect::<Vec<_>>()[..] else {
            continue;
        };
        let package = Package {
            name: name.into(),
            version: version.into(),
        };
        match offers.last_mut() {
            Some(offer) if offer.series == series => offer.packages.push(package),
            _ => offers.push(Offer {
                series: series.into(),
                packages: vec![package],
            }),
        }
    }
    offers
}

/// `6.1` of `6.1.0-37-cloud-amd64`.
fn series_of(abi: &str) -> String {
    let numbers: Vec<&str> = abi.split(['.', '-', '+']).take(2).collect();
    numbers.join(".")
}

/// Lines in the order of Debian's version numbers, which `sort -V` knows.
fn by_version(rows: &str) -> Result<String> {
    let mut sort = Command::new("sort");
    let mut child = sort
        .arg("-V")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        std::io::Write::write_all(&mut stdin, rows.as_bytes())?;
    }
    Ok(String::from_utf8_lossy(&child.wait_with_output()?.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_and_their_versions_are_in_order_and_empty_packages_are_left_out() {
        let lines = " linux-image-6.1.0-56-cloud-amd64 | 6.1.192-2 | somewhere\n\
                     linux-image-6.1.0-9-cloud-amd64 | 6.1.27-1 | somewhere\n\
                     linux-image-6.19.14+deb13-cloud-amd64 | 6.19.14-1 | somewhere\n\
                     linux-binary-6.19.14+deb13-cloud-amd64 | 6.19.14-1 | somewhere\n\
                     linux-image-5.10.0-46-cloud-amd64 | 5.10.262-1 | somewhere\n";
        let offers = all(lines).expect("sort is there");
        let packages = offers.iter().flat_map(|offer| &offer.packages);
        let packages: Vec<&str> = packages.map(|package| package.name.as_str()).collect();
        let expected = [
            "linux-image-5.10.0-46-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-binary-6.19.14+deb13-cloud-amd64",
        ];
        assert_eq!(packages, expected);
        assert_eq!(find(&offers, "newest").expect("there is one").series, "6.19");
        assert!(find(&offers, "4.9").is_err());
    }
}
