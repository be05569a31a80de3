//! Fixtures of every API family: what is read from them, and the laws that hold however their bytes come.
//!
//! `BLESS=1 cargo test -p audit-tests --test apis` writes `expected.json` anew; read the difference before it is committed.

use audit_tests::fixture::{self, Fixture};
use serde_json::Value;
use std::collections::BTreeMap;

/// Cuts of one fixture that are tried; of longer ones every so many bytes.
const CUTS: usize = 60;

fn fixtures() -> Vec<Fixture> {
    fixture::all().expect("the fixtures can be read")
}

/// Without what depends on how the bytes came.
fn timeless(calls: Vec<Value>) -> Vec<Value> {
    let mut calls = calls;
    for call in calls.iter_mut().filter_map(Value::as_object_mut) {
        call.remove("first_token_byte");
        call.remove("last_token_byte");
    }
    calls
}

fn cuts(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(len.div_ceil(CUTS).max(1))
}

#[test]
fn every_fixture_gives_its_golden_calls() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for fixture in fixtures() {
        let calls = serde_json::to_string_pretty(&fixture.calls(1)).expect("JSON") + "\n";
        if bless {
            std::fs::write(fixture.expected(), &calls).expect("the golden file can be written");
        }
        let expected = std::fs::read_to_string(fixture.expected()).unwrap_or_default();
        if calls != expected {
            wrong.push(format!("{}\n{calls}", fixture.name()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fixture_says_where_it_is_from() {
    for fixture in fixtures() {
        for name in ["kind", "from", "date", "about"] {
            assert!(
                fixture.source(name).is_some(),
                "{}: no `{name}: ` in SOURCE",
                fixture.name()
            );
        }
    }
}

#[test]
fn cutting_the_streams_anywhere_gives_the_same_calls() {
    for fixture in fixtures() {
        let whole = timeless(fixture.calls(1));
        for cut in [2, 3, 7, 61, 1024, usize::MAX] {
            assert_eq!(
                timeless(fixture.calls(cut)),
                whole,
                "{} in pieces of {cut}",
                fixture.name()
            );
        }
    }
}

/// What stands behind `mark` in the heads of a request, up to the end of its word.
fn words_behind<'a>(head: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    let ends = |byte: char| byte.is_whitespace() || [',', ';', '&'].contains(&byte);
    head.match_indices(mark)
        .filter_map(move |(at, _)| head.get(at..)?.split(ends).next())
}

#[test]
fn keys_are_in_nothing_that_is_read_but_their_being_there() {
    let mut keys = 0;
    for fixture in fixtures() {
        let (calls, records) = (fixture.calls(usize::MAX), fixture.records());
        let text = serde_json::to_string(&(&calls, &records)).expect("JSON");
        let request = String::from_utf8_lossy(&fixture.request);
        let head = request.split("\r\n\r\n").next().unwrap_or_default();
        for key in words_behind(head, "sk-").filter(|key| key.len() > 6) {
            keys += 1;
            let decoded = key.replace("%2D", "-");
            let told = text.contains(key) || text.contains(&decoded);
            assert!(!told, "{}: {key}", fixture.name());
            let known = calls.iter().all(|call| call["has_key"] == true);
            assert!(known, "{}: {key} is not seen", fixture.name());
        }
    }
    assert!(keys >= 20, "{keys} keys are few");
}

/// A row of the table of hard cases: its number, and what shows it.
fn row(line: &str) -> Option<(u32, Vec<&str>)> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let number = cells.next()?.parse().ok()?;
    let shown = cells.nth(1)?.split('`').skip(1).step_by(2);
    Some((number, shown.collect()))
}

#[test]
fn every_hard_case_is_shown_by_what_is_there() {
    let readme = std::fs::read_to_string(fixture::root().join("README.md")).expect("the table of cases");
    let repository = fixture::root().join("../..");
    let rows: Vec<_> = readme.lines().filter_map(row).collect();
    let numbers: Vec<u32> = rows.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=45).collect::<Vec<_>>());
    for (number, shown) in rows {
        assert!(!shown.is_empty(), "nothing shows case {number}");
        for name in shown {
            let there = match name.split_once("::") {
                Some((file, test)) => std::fs::read_to_string(repository.join(file))
                    .is_ok_and(|text| text.contains(&format!("fn {test}("))),
                None => fixture::root().join(name).join("SOURCE").exists(),
            };
            assert!(there, "case {number}: there is no {name}");
        }
    }
}

/// The numbers in `case 7: ...` and `cases 7 and 23: ...`.
fn cases(about: &str) -> Vec<u32> {
    let said = about.match_indices("case");
    let said = said.filter_map(|(at, _)| about.get(at..)?.split_once(':'));
    said.flat_map(|(numbers, _)| numbers.split(|byte: char| !byte.is_ascii_digit()))
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[test]
fn every_fixture_is_in_the_table_under_the_cases_that_it_names() {
    let readme = std::fs::read_to_string(fixture::root().join("README.md")).expect("the table of cases");
    let rows: BTreeMap<u32, Vec<&str>> = readme.lines().filter_map(row).collect();
    let mut missing = Vec::new();
    for fixture in fixtures() {
        for number in cases(fixture.source("about").unwrap_or_default()) {
            let name = fixture.name();
            if !rows
                .get(&number)
                .is_some_and(|shown| shown.contains(&name.as_str()))
            {
                missing.push((number, name));
            }
        }
    }
    assert_eq!(missing, []);
}

fn completion(call: &Value) -> Option<&str> {
    call["completion"].as_str()
}

/// What is left when the response ends too soon, or bytes of it are lost, says so, or says the same as the whole.
fn same_or_less(fixture: &Fixture, whole: &[Value], part: &[Value], what: &str) {
    assert!(
        part.len() <= whole.len(),
        "{} {what}: more calls than there were",
        fixture.name()
    );
    for call in part {
        let Some(hashed) = completion(call) else { continue };
        let known = whole.iter().any(|whole| completion(whole) == Some(hashed));
        assert!(
            known,
            "{} {what}: a completion that nobody wrote: {hashed:?}",
            fixture.name()
        );
    }
}

#[test]
fn a_prefix_of_a_response_never_invents_a_completion() {
    for fixture in fixtures() {
        let whole = fixture.calls(usize::MAX);
        for at in cuts(fixture.response.len()) {
            let response = fixture.response.get(..at).unwrap_or_default();
            let part = fixture.of(&fixture.request, response, usize::MAX);
            same_or_less(&fixture, &whole, &part, &format!("cut at {at}"));
        }
    }
}

#[test]
fn a_prefix_of_a_stream_gives_a_prefix_of_its_text() {
    let texts = |call: &Value| -> Vec<(Value, String)> {
        let choices = call["choices"].as_array().cloned().unwrap_or_default();
        let text = |choice: &Value| choice["text"].as_str().unwrap_or_default().to_owned();
        choices
            .iter()
            .map(|choice| (choice["index"].clone(), text(choice)))
            .collect()
    };
    for fixture in fixtures()
        .iter()
        .filter(|fixture| fixture.source("marks").is_none())
    {
        let whole = fixture.calls(usize::MAX);
        for at in cuts(fixture.response.len()) {
            let part = fixture.of(
                &fixture.request,
                fixture.response.get(..at).unwrap_or_default(),
                usize::MAX,
            );
            for (part, whole) in part
                .iter()
                .zip(&whole)
                .filter(|(_, whole)| whole["stream"] == true)
            {
                for (index, text) in texts(part) {
                    let grown = texts(whole)
                        .iter()
                        .any(|(of, all)| *of == index && all.starts_with(&text));
                    assert!(
                        grown || text.is_empty(),
                        "{} cut at {at}: {text:?}",
                        fixture.name()
                    );
                }
            }
        }
    }
}

#[test]
fn a_prefix_of_a_request_has_no_prompt() {
    for fixture in fixtures() {
        let whole = fixture.calls(usize::MAX);
        for at in cuts(fixture.request.len()) {
            let part = fixture.of(fixture.request.get(..at).unwrap_or_default(), &[], usize::MAX);
            for call in part.iter().filter(|call| !call["prompt"].is_null()) {
                let known = whole.iter().any(|whole| whole["prompt"] == call["prompt"]);
                assert!(known, "{} cut at {at}: {}", fixture.name(), call["prompt"]);
            }
        }
    }
}

#[test]
fn a_gap_never_invents_a_completion() {
    for fixture in fixtures() {
        let whole = fixture.calls(usize::MAX);
        for at in cuts(fixture.response.len()) {
            let len = 1 + at % 97;
            if at + len <= fixture.response.len() {
                let part = fixture.with_gap(at, len);
                same_or_less(&fixture, &whole, &part, &format!("without {len} bytes at {at}"));
            }
        }
    }
}
