//! Makes the fixtures of real servers anew: `cargo run -p audit-tests --bin refresh-fixtures [part of a name]`.
//!
//! Then `BLESS=1 cargo test -p audit-tests --test apis`, and read the difference.

use anyhow::Result;
use audit_tests::fixture::{self, record::Server};
use std::collections::BTreeMap;

fn main() -> Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let mut by_server = BTreeMap::<String, Vec<_>>::new();
    for fixture in fixture::all()? {
        if let Some(server) = fixture
            .source("server")
            .filter(|_| fixture.name().contains(&wanted))
        {
            by_server.entry(server.to_owned()).or_default().push(fixture);
        }
    }
    for (line, fixtures) in by_server {
        let server = Server::start(&line)?;
        for fixture in fixtures {
            server.record(&fixture)?;
            println!("{} from {line}", fixture.name());
        }
    }
    Ok(())
}
