//! A real agent beside the agent: what it executes after a model asked for it, and nothing else.

use anyhow::{Context, Result, ensure};
use audit_tests::agent::{Agent, Options};
use audit_tests::client::agent_loop;
use audit_tests::front::Front;
use audit_tests::live;
use audit_tests::record::{PLAIN_HASHES, of_type};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const WANTED: &str = "ls -d /usr/lib/os-release --token=very-secret";

fn with_pid(records: &[Value], pid: &Value) -> Vec<Value> {
    of_type(records, "action")
        .into_iter()
        .filter(|record| record["process"]["pid"] == *pid)
        .cloned()
        .collect()
}

#[test]
fn a_command_after_a_tool_call_is_recorded_with_the_answer_that_asked_for_it() -> Result<()> {
    if live::skip() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let server = Front::scripted(WANTED)?;
    let mut agent = Agent::start(Options {
        dir: dir.path(),
        output: "json",
        config: PLAIN_HASHES,
    })?;
    let executed = agent_loop(&server.url())?;
    // Somebody else's command at the same time.
    ensure!(Command::new("true").arg("of somebody else").status()?.success());
    agent.wait_for("both calls and their actions", LIMIT, |records| {
        of_type(records, "inference").len() == 2 && !of_type(records, "action").is_empty()
    })?;
    let log = agent.stop()?;
    let [before, tool, after] = executed.as_slice() else {
        anyhow::bail!("{executed:?}")
    };
    ensure!(with_pid(&log, &before["pid"]).is_empty() && with_pid(&log, &after["pid"]).is_empty());
    let shell = with_pid(&log, &tool["pid"]);
    let [shell] = shell.as_slice() else {
        anyhow::bail!("not one action: {shell:#?} in {log:#?}")
    };
    let asked = of_type(&log, "inference")
        .into_iter()
        .find(|record| record["tool_calls"][0]["name"] == "run_command")
        .context("the answer with the tool call")?;
    ensure!(shell["caused_by"] == asked["exchange_id"], "{shell:#}");
    ensure!(shell["tools"][0] == "run_command", "{shell:#}");
    ensure!(shell["process"]["argv"][0] == "sh", "{shell:#}");
    ensure!(
        shell["parent_pid"] == asked["client"]["process"]["pid"],
        "{shell:#}"
    );
    // Its child, which was asked for word by word.
    let child: Vec<_> = of_type(&log, "action")
        .into_iter()
        .filter(|record| record["parent_pid"] == shell["process"]["pid"])
        .collect();
    ensure!(
        child.len() == 1 && child[0]["link"] == "tool_arguments",
        "{child:#?}"
    );
    ensure!(child[0]["process"]["argv"][0] == "ls", "{child:#?}");
    ensure!(of_type(&log, "action").len() == 2, "{log:#?}");
    ensure!(
        !format!("{log:?}").contains("very-secret"),
        "a secret is in the log"
    );
    Ok(())
}
