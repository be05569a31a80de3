//! The public corpus of HPACK (http2jp/hpack-test-case): field lists of real sites as fourteen encoders wrote them, with and
//! without Huffman codes, with small and changing tables. The crate `httlib-hpack` brings it along.

use anyhow::{Context, Result, ensure};
use audit_agent::http::hpack::Hpack;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Stories of all encoders together.
const STORIES: usize = 400;

/// Where cargo unpacked the crate.
fn corpus() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut metadata = Command::new(cargo);
    metadata.args(["metadata", "--format-version", "1"]);
    let output = metadata.current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    ensure!(output.status.success(), "{output:?}");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let package = packages.iter().find(|package| package["name"] == "httlib-hpack");
    let manifest = package.and_then(|package| package["manifest_path"].as_str());
    let folder = Path::new(manifest.context("httlib-hpack is a dependency")?).parent();
    Ok(folder.context("a manifest is in a folder")?.join("fixtures"))
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?);
    pairs.map(byte).collect()
}

/// The field lists of a story, decoded in order by one decoder. Gives how many there were.
fn story(path: &Path) -> Result<usize> {
    let story: Value = serde_json::from_slice(&fs::read(path)?)?;
    let cases = story["cases"].as_array().context("cases")?;
    let mut hpack = Hpack::new(false);
    for case in cases {
        let wire = bytes(case["wire"].as_str().context("wire")?)?;
        let block = hpack.decode(&wire).map_err(anyhow::Error::msg)?;
        let sent = case["headers"].as_array().context("headers")?;
        let sent: Vec<(Vec<u8>, Vec<u8>)> = sent
            .iter()
            .filter_map(Value::as_object)
            .flatten()
            .map(|(name, value)| (name.clone().into(), value.as_str().unwrap_or_default().into()))
            .collect();
        ensure!(!block.over_cap && block.unknown == 0, "case {}", case["seqno"]);
        ensure!(block.fields == sent, "case {}", case["seqno"]);
    }
    Ok(cases.len())
}

#[test]
fn every_story_of_every_encoder_is_decoded() -> Result<()> {
    let (mut stories, mut lists) = (0, 0);
    for encoder in fs::read_dir(corpus()?)? {
        let encoder = encoder?.path();
        for path in fs::read_dir(&encoder).into_iter().flatten() {
            let path = path?.path();
            lists += story(&path).with_context(|| path.display().to_string())?;
            stories += 1;
        }
    }
    ensure!(
        stories >= STORIES && lists > 10 * stories,
        "{stories} stories, {lists} lists"
    );
    Ok(())
}
