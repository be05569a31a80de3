use super::*;
use crate::call;
use crate::ledger::chain::Chain;
use crate::ledger::epoch::Epochs;
use crate::ledger::keys::LogKey;
use inference::{Attachment, Confidence, Inference, ProcessInfo, Results, ToolCall, Upstream, WeightsFile};
use serde_json::Value;

fn retention(place: &str, retired_before: Option<u64>) -> Body {
    Body::Retention(Retention {
        place: place.into(),
        reason: "age".into(),
        retired_before,
        ..Retention::default()
    })
}

/// One record of each type; of the inference one with everything and one with nothing.
fn records() -> Vec<Value> {
    let lines = lines();
    lines
        .iter()
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// What real servers and clients led to.
fn of_real_captures() -> Vec<Value> {
    let logs = [
        include_str!("../../../tests/data/golden/llama-server.jsonl"),
        include_str!("../../../tests/data/golden/wire.jsonl"),
    ];
    logs.iter()
        .flat_map(|log| log.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Fields of the structures inside of records are in order, which the ledger relies on.
#[test]
fn every_record_is_in_canonical_form() {
    for line in lines() {
        let record: Value = serde_json::from_slice(&line).unwrap();
        let canonical = serde_json_canonicalizer::to_vec(&record).unwrap();
        assert_eq!(
            String::from_utf8(line).unwrap(),
            String::from_utf8(canonical).unwrap()
        );
    }
}

fn lines() -> Vec<Vec<u8>> {
    let part = || content::Part {
        state: "whole".into(),
        ..Default::default()
    };
    let process = || Some(ProcessInfo::default().into());
    let attachment = Attachment {
        direction: "request".into(),
        kind: "image".into(),
        source: "inline".into(),
        ..Attachment::default()
    };
    let mut full = Inference {
        attachments: vec![attachment],
        completeness: "complete".into(),
        results: Some(Results::default()),
        upstream: Some(Upstream::default()),
        confidence: Some(Confidence::default()),
        hash_alg: "sha256".into(),
        model_files: vec![WeightsFile::default()],
        tool_calls: vec![ToolCall::default()],
        ..Inference::default()
    };
    full.content = Some(content::Content {
        completion: Some(part()),
        mode: "full".into(),
        prompt: Some(part()),
        state: "stored".into(),
        ..Default::default()
    });
    full.capture.state = "complete".into();
    full.exchange_id = "00".repeat(16);
    (full.direction, full.link) = ("inbound".into(), "none".into());
    let mut empty = full.clone();
    empty.content = None;
    (empty.confidence, empty.tool_calls, empty.model_files) = (None, Vec::new(), Vec::new());
    (empty.attachments, empty.results, empty.upstream) = (Vec::new(), None, None);
    (full.client.process, full.server.process) = (process(), process());
    let gap = |place: &str| Gap {
        place: place.into(),
        connection: Some(Connection::default()),
        ..Gap::default()
    };
    let load = call::Admin {
        action: "load",
        ..call::Admin::default()
    };
    let bodies = [
        Body::Admin(Box::new(served::Admin::new(&load, full.clone()))),
        Body::Inventory(Box::new(served::Inventory {
            models: vec![served::ServedModel::default()],
            ..served::Inventory::default()
        })),
        Body::Inference(Box::new(full)),
        Body::Inference(Box::new(empty)),
        Body::Gap(gap("ring_buffer")),
        Body::Gap(Gap {
            connection: None,
            ..gap("sink")
        }),
        Body::Heartbeat(Heartbeat {
            counters: BTreeMap::from([("n".into(), 1)]),
            heartbeat_s: 60,
        }),
        Body::AgentStart(AgentStart::default()),
        Body::AgentStop(AgentStop::default()),
        Body::Recovery(Recovery::default()),
        retention("log", Some(0)),
        Body::Model(Model::default()),
        Body::Action(Box::new(Action {
            link: "process_time".into(),
            ..Action::default()
        })),
        Body::Access(Default::default()),
        Body::Erasure(Default::default()),
        retention("content", None),
    ];
    let epochs = Epochs::new("test", 1, [2; 32].into());
    let (mut chain, mut lines) = (Chain::new(LogKey::new("test", &[1; 32]), epochs), Vec::new());
    bodies.iter().for_each(|body| chain.sign(body, 5, &mut lines));
    lines.into_iter().map(|line| line.bytes).collect()
}

#[test]
fn every_record_is_valid_by_the_published_schema() {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/record.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for record in records().into_iter().chain(of_real_captures()) {
        assert!(validator.is_valid(&record), "{record:#}");
        let mut unknown = record.clone();
        unknown["surprise"] = Value::from(1);
        assert!(!validator.is_valid(&unknown), "the schema lets anything pass");
    }
}

#[test]
fn every_member_is_described() {
    let text = include_str!("../../../docs/record-format.md");
    for record in records() {
        for name in record.as_object().unwrap().keys() {
            assert!(
                text.contains(&format!("`{name}`")),
                "docs/record-format.md does not describe `{name}`"
            );
        }
    }
}
