//! Stored prompts and completions of a real server: who can read them, who cannot, and how they are forgotten.

mod scene;

use anyhow::{Context, Result, ensure};
use audit_tests::agent;
use audit_tests::client::unique;
use audit_tests::record::of_type;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use scene::{holding, scene};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The agents of this file see each other's servers, so they take turns.
static STAGE: Mutex<()> = Mutex::new(());

/// Exit statuses of `verify`.
const INTACT: i32 = 0;
const WITH_GAPS: i32 = 3;

#[test]
fn what_is_stored_only_the_holder_reads_and_each_access_is_recorded() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let mut agent = scene.agent("full", "")?;
    let secret = unique("the-launch-code");
    let record = scene.ask(&mut agent, "ann", &secret)?;
    let content = &record["content"];
    ensure!(
        content["state"] == "stored" && content["prompt"]["state"] == "whole",
        "{content:#}"
    );

    let shown: Value = serde_json::from_str(&scene.show(&record)?.stdout()?)?;
    ensure!(shown["prompt"][0]["content"] == secret.as_str(), "{shown:#}");
    ensure!(shown["completion"][0]["text"].is_string(), "{shown:#}");
    // Signed before it was shown, so there is nothing to wait for.
    let access = agent::records(&agent.log())?;
    let access = of_type(&access, "access");
    ensure!(
        access.len() == 1 && access[0]["content_seq"] == record["seq"],
        "{access:#?}"
    );

    ensure!(
        scene.age(content)?.contains(&secret),
        "another program reads it too"
    );
    let found = holding(scene.dir.path(), &secret)?;
    ensure!(found.is_empty(), "{found:?} hold the prompt");
    let mode =
        |name: &str| -> Result<u32> { Ok(fs::metadata(scene.path(name))?.permissions().mode() & 0o777) };
    ensure!(mode("content/users")? == 0o700 && mode("content/requests")? == 0o700);
    let segment = format!(
        "content/segments/{}",
        content["file"].as_str().unwrap_or_default()
    );
    ensure!(mode(&segment)? & 0o137 == 0, "{:o}", mode(&segment)?);
    ensure!(fs::metadata(scene.identity())?.permissions().mode() & 0o777 == 0o600);

    agent.stop()?;
    scene
        .show(&record)?
        .fails_saying(&["nothing is shown", "no agent answers"])?;
    scene.verify(INTACT, &[])
}

#[test]
fn an_erased_user_is_unreadable_and_unlinked_and_the_log_stays_whole() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let mut agent = scene.agent("full", "")?;
    let ann = scene.ask(&mut agent, "ann", &unique("a-word"))?;
    let bob = scene.ask(&mut agent, "bob", &unique("b-word"))?;
    let again = scene.ask(&mut agent, "ann", &unique("c-word"))?;
    ensure!(ann["user_id"] == again["user_id"] && ann["user_id"] != bob["user_id"]);
    scene.verify(INTACT, &[])?;
    let kept = scene.away.path().join("checkpoint");
    fs::copy(scene.path("log/checkpoint"), &kept)?;

    ensure!(scene.erase(&["--user", "ann"])?.contains("erased"));
    for record in [&ann, &again] {
        let said = scene.show(record)?.stdout()?;
        ensure!(
            said.starts_with("erased: record ") && !said.contains('"'),
            "{said}"
        );
        ensure!(scene.age(&record["content"]).is_err());
    }
    ensure!(scene.age(&bob["content"])?.contains("b-word"));
    let anew = scene.ask(&mut agent, "ann", &unique("d-word"))?;
    ensure!(anew["user_id"] != ann["user_id"] && anew["salt_id"] != ann["salt_id"]);

    // By what the log itself has.
    let id = bob["user_id"].as_str().context("a pseudonym")?;
    ensure!(scene.erase(&["--user-id", id])?.contains("erased"));
    ensure!(scene.age(&bob["content"]).is_err());
    let log = agent.stop()?;
    let erased: Vec<_> = of_type(&log, "erasure")
        .iter()
        .map(|record| record["user_id"].clone())
        .collect();
    ensure!(erased == [ann["user_id"].clone(), bob["user_id"].clone()]);
    for record in [&ann, &bob] {
        ensure!(scene.prove(record)?.starts_with("c2sp.org/tlog-proof"));
    }
    let kept = kept.to_string_lossy();
    scene.verify(INTACT, &["--checkpoint", &kept])
}

#[test]
fn redacted_content_has_no_address_and_its_record_says_how_many_were_masked() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let mut agent = scene.agent("redacted", "")?;
    let record = scene.ask(
        &mut agent,
        "ann",
        "write to jane.doe@mail.example.org, card 4111 1111 1111 1111",
    )?;
    let masked = &record["content"]["masked"];
    ensure!(masked["email"] == 1 && masked["card"] == 1, "{masked}");
    let text = scene.age(&record["content"])?;
    ensure!(text.contains("write to [email], card [card]"), "{text}");
    let counters = agent.stop()?.pop().context("a last record")?["counters"].clone();
    ensure!(
        counters["content_masked_email"] == 1 && counters["content_objects"] == 1,
        "{counters:#}"
    );
    Ok(())
}

#[test]
fn a_large_prompt_is_cut_where_the_operator_said_and_the_record_says_of_how_much() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let mut agent = scene.agent("full", "max_kib = 64\n")?;
    let prompt = "long ".repeat(700_000);
    let record = scene.ask(&mut agent, "ann", &prompt)?;
    let part = &record["content"]["prompt"];
    ensure!(part["state"] == "cut" && part["bytes"] == 65_536, "{part}");
    ensure!(
        part["of_bytes"]
            .as_u64()
            .is_some_and(|of| of > prompt.len() as u64),
        "{part}"
    );
    ensure!(scene.age(&record["content"])?.contains("long long"));
    Ok(())
}

/// A file system of its own for content alone, unmounted when dropped.
struct SmallPlace(PathBuf);

impl SmallPlace {
    fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir_all(&path)?;
        mount(
            Some("tmpfs"),
            &path,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("size=128k,mode=0750"),
        )?;
        Ok(Self(path))
    }
}

impl Drop for SmallPlace {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_loses_content_and_says_so_and_no_record() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let _place = SmallPlace::new(scene.path("content"))?;
    let mut agent = scene.agent("full", "")?;
    let small = scene.ask(&mut agent, "ann", "fits")?;
    let large = scene.ask(&mut agent, "ann", &"x".repeat(300_000))?;
    let after = scene.ask(&mut agent, "ann", "fits again")?;
    ensure!(
        small["content"]["state"] == "stored" && after["content"]["state"] == "stored",
        "{after:#}"
    );
    ensure!(
        large["content"]["state"] == "lost" && large["content"]["file"].is_null(),
        "{large:#}"
    );
    ensure!(large["prompt_hash"].is_string(), "the record is whole");
    ensure!(
        scene.age(&after["content"])?.contains("fits again"),
        "the archive was cut back"
    );
    scene
        .show(&large)?
        .fails_saying(&["nothing was stored", "lost"])?;
    let log = agent.stop()?;
    let gaps: Vec<_> = of_type(&log, "gap")
        .into_iter()
        .filter(|gap| gap["where"] == "content")
        .collect();
    ensure!(gaps.len() == 1 && gaps[0]["lost"]["objects"] == 1, "{gaps:#?}");
    scene.verify(WITH_GAPS, &[])
}

#[test]
fn content_of_mode_none_leaves_no_hash_of_what_was_said() -> Result<()> {
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(scene) = scene() else { return Ok(()) };
    let scene = scene?;
    let mut agent = scene.agent("none", "")?;
    let record = scene.ask(&mut agent, "ann", "hello")?;
    for name in [
        "prompt_hash",
        "completion_hash",
        "request_body_hash",
        "response_body_hash",
        "content",
    ] {
        ensure!(record[name].is_null(), "{name} is {}", record[name]);
    }
    ensure!(!scene.path("content").exists());
    Ok(())
}
