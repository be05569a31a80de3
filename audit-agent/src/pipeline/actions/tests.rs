use super::*;
use proptest::prelude::*;

const CLIENT: u32 = 7;
const SHELL: u32 = 5;

fn answer(id: &str, arguments: &str) -> Answer {
    Answer {
        exchange_id: id.to_owned(),
        end_ns: 100,
        owners: vec![CLIENT],
        parent: Some(SHELL),
        tools: vec![Tool {
            id: Some(format!("call_{id}")),
            name: Some("run".to_owned()),
            arguments: arguments.to_owned(),
        }],
    }
}

fn argv(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn actions(answers: &[Answer]) -> Actions {
    let mut actions = Actions::default();
    for answer in answers {
        actions.answered(answer.clone());
    }
    actions
}

fn how(action: Option<Action>) -> (&'static str, Option<String>) {
    action.map_or(("", None), |action| (action.link.how, action.link.caused_by))
}

#[test]
fn a_command_of_the_client_after_a_tool_call_is_an_action() {
    let mut actions = actions(&[answer("a", "{}")]);
    let found = actions.executed(&[9, CLIENT, SHELL], &argv(&["ls"]), 101);
    assert_eq!(
        found.as_ref().map(|action| action.tools.clone()),
        Some(vec!["run".into()])
    );
    assert_eq!(how(found), ("process_time", Some("a".into())));
}

#[test]
fn a_command_before_the_answer_or_long_after_it_is_none() {
    let mut actions = actions(&[answer("a", "{}")]);
    assert_eq!(actions.executed(&[9, CLIENT], &argv(&["ls"]), 99), None);
    assert_eq!(
        actions.executed(&[9, CLIENT], &argv(&["ls"]), 101 + WINDOW_NS),
        None
    );
    actions.expire(101 + WINDOW_NS);
    assert!(!actions.is_open());
}

#[test]
fn a_command_of_somebody_else_is_none() {
    let mut actions = actions(&[answer("a", r#"{"command":"ls -la /tmp"}"#)]);
    assert_eq!(
        actions.executed(&[9, 8, 1], &argv(&["ls", "-la", "/tmp"]), 101),
        None
    );
}

#[test]
fn the_arguments_tell_two_answers_apart() {
    let mut actions = actions(&[
        answer("a", r#"{"command":"cat \"my notes\""}"#),
        answer("b", r#"{"command":"ls -la"}"#),
    ]);
    let shell = argv(&["sh", "-c", "cat \"my notes\""]);
    let found = actions.executed(&[9, CLIENT], &shell, 101);
    assert_eq!(how(found), ("tool_arguments", Some("a".into())));
    let found = actions.executed(&[9, CLIENT], &argv(&["true"]), 101).unwrap();
    assert_eq!((found.link.how, found.link.caused_by), ("ambiguous", None));
    assert_eq!(found.link.candidates, ["a", "b"]);
}

#[test]
fn the_shell_that_started_the_client_counts_only_with_the_arguments() {
    let mut actions = actions(&[answer("a", r#"{"command":"ls -la /srv"}"#)]);
    assert_eq!(actions.executed(&[9, SHELL], &argv(&["vi"]), 101), None);
    let found = actions.executed(&[9, SHELL], &argv(&["ls", "-la", "/srv"]), 101);
    assert_eq!(how(found), ("tool_arguments", Some("a".into())));
}

#[test]
fn the_result_of_a_tool_closes_its_window() {
    let mut actions = actions(&[answer("a", "{}"), answer("b", "{}")]);
    actions.asked(
        &[CLIENT],
        br#"[{"content":"1","role":"tool","tool_call_id":"call_a"}]"#,
    );
    let found = actions.executed(&[9, CLIENT], &argv(&["ls"]), 101);
    assert_eq!(how(found), ("process_time", Some("b".into())));
    actions.asked(&[1234], b"call_b");
    assert!(actions.is_open(), "somebody else's prompt");
}

#[test]
fn what_is_over_the_caps_is_declared() {
    let mut actions = actions(&[answer("a", "{}")]);
    for _ in 0..limits::ACTIONS_OF_ANSWER + 3 {
        let _ = actions.executed(&[9, CLIENT], &argv(&["ls"]), 101);
    }
    actions.stop();
    let expected = Overflow {
        exchange_id: "a".into(),
        actions: 3,
    };
    assert_eq!(actions.overflows(), [expected]);
    for n in 0..limits::ACTION_WINDOWS * 2 {
        actions.answered(answer(&n.to_string(), &"x".repeat(100_000)));
    }
    assert_eq!(actions.windows.len(), limits::ACTION_WINDOWS);
}

proptest! {
    #[test]
    fn without_a_tool_call_before_it_no_command_is_an_action(
        owners in prop::collection::vec(0u32..20, 0..4), lineage in prop::collection::vec(0u32..20, 0..6),
        words in prop::collection::vec("[a-z ]{0,12}", 0..4), end_ns in 0u64..100, time_ns in 0u64..100,
        asks in any::<bool>(),
    ) {
        let tools = if asks { vec![Tool::default()] } else { Vec::new() };
        let mut actions = Actions::default();
        actions.answered(Answer { owners: owners.clone(), end_ns, tools, ..Answer::default() });
        let found = actions.executed(&lineage, &words, time_ns);
        let may = asks && time_ns >= end_ns && lineage.iter().any(|pid| owners.contains(pid));
        prop_assert_eq!(found.is_some(), may);
    }
}
