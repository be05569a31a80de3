use super::*;
use proptest::prelude::*;

fn place(n: u64) -> Place {
    let key = ConnKey {
        sock: n,
        generation: 1,
    };
    (key, 0)
}

fn begun(id: &str, server_pid: u32, start_ns: u64) -> Begun {
    Begun {
        id: id.to_owned(),
        server_pid: Some(server_pid),
        start_ns,
        traceparent: None,
        request_id: None,
    }
}

fn asked<'a>(lineage: &'a [u32], prompt: &'a str) -> Asked<'a> {
    Asked {
        lineage,
        prompt_hash: Some(prompt),
        prompt: Some(prompt.as_bytes()),
    }
}

const FRONT: u32 = 10;
const BACK: u32 = 20;
const NOBODY: u32 = 1;

/// So many calls at the front, each with its prompt, from `start_ns` on.
fn front(prompts: &[&str]) -> Hops {
    let mut hops = Hops::default();
    for (n, prompt) in prompts.iter().enumerate() {
        let n = n as u64;
        hops.begin(place(n), begun(&format!("outer{n}"), FRONT, n));
        hops.asked(place(n), &asked(&[NOBODY], prompt));
    }
    hops
}

/// The link of a call that the front makes to the back.
fn inner(hops: &mut Hops, begun: Begun, prompt: &str) -> Link {
    hops.begin(place(100), begun);
    hops.asked(place(100), &asked(&[FRONT], prompt));
    ended(hops, 100, 60)
}

fn ended(hops: &mut Hops, n: u64, end_ns: u64) -> Link {
    hops.end(place(n), end_ns).unwrap().1
}

#[test]
fn a_call_of_nobody_who_serves_is_the_outermost() {
    let mut hops = Hops::default();
    hops.begin(place(0), begun("a", FRONT, 0));
    hops.asked(place(0), &asked(&[NOBODY], "p"));
    assert_eq!(ended(&mut hops, 0, 1), Link::none());
}

#[test]
fn the_same_prompt_links_two_hops() {
    let mut hops = front(&["x", "y"]);
    let link = inner(&mut hops, begun("in", BACK, 50), "y");
    assert_eq!(
        (link.how, link.caused_by.as_deref(), link.hop),
        ("prompt_hash", Some("outer1"), 1)
    );
}

#[test]
fn two_equal_prompts_at_one_time_are_ambiguous_and_never_crossed() {
    let mut hops = front(&["same", "same", "other"]);
    let link = inner(&mut hops, begun("in", BACK, 50), "same");
    assert_eq!((link.how, link.caused_by, link.hop), ("ambiguous", None, 1));
    assert_eq!(link.candidates, ["outer0", "outer1"]);
}

#[test]
fn a_trace_decides_between_equal_prompts() {
    let trace = |n: u64| Some(format!("00-{n:032x}-00000000000000ff-01"));
    let mut hops = Hops::default();
    for n in 1..=2 {
        let traceparent = trace(n);
        hops.begin(
            place(n),
            Begun {
                traceparent,
                ..begun(&format!("outer{n}"), FRONT, 0)
            },
        );
        hops.asked(place(n), &asked(&[], "same"));
    }
    let with_trace = Begun {
        traceparent: trace(2),
        ..begun("in", BACK, 50)
    };
    let link = inner(&mut hops, with_trace, "same");
    assert_eq!(
        (link.how, link.caused_by.as_deref()),
        ("traceparent", Some("outer2"))
    );
}

#[test]
fn a_template_around_the_last_message_is_seen_through() {
    let messages = |text: &str| format!(r#"[{{"content":"{text}","role":"user"}}]"#);
    let (one, two) = (
        messages("tell me about \\\"cats\\\" now"),
        messages("tell me about dogs now"),
    );
    let mut hops = front(&[&one, &two]);
    let templated = r#""<|user|>tell me about \"cats\" now<|assistant|>""#;
    let link = inner(&mut hops, begun("in", BACK, 50), templated);
    assert_eq!(
        (link.how, link.caused_by.as_deref()),
        ("prompt_text", Some("outer0"))
    );
}

#[test]
fn the_only_open_call_of_the_process_caused_it() {
    let mut hops = front(&["x"]);
    let link = inner(&mut hops, begun("in", BACK, 50), "rewritten");
    assert_eq!(
        (link.how, link.caused_by.as_deref()),
        ("process_time", Some("outer0"))
    );
}

#[test]
fn a_call_that_ended_before_caused_nothing() {
    let mut hops = front(&["x"]);
    hops.end(place(0), 40);
    assert_eq!(inner(&mut hops, begun("in", BACK, 50), "x"), Link::none());
    // Its end may be seen before the beginning of what it caused.
    assert_eq!(inner(&mut hops, begun("in", BACK, 30), "x").how, "prompt_hash");
    hops.expire(KEPT_AFTER_END_NS * 2);
    assert!(hops.calls.is_empty() && hops.by_server.is_empty() && hops.ended.is_empty());
}

#[test]
fn three_hops_are_counted() {
    let mut hops = front(&["x"]);
    hops.begin(place(1), begun("middle", BACK, 10));
    hops.asked(place(1), &asked(&[FRONT], "x"));
    hops.begin(place(2), begun("last", 30, 20));
    hops.asked(place(2), &asked(&[BACK], "x"));
    let link = ended(&mut hops, 2, 30);
    assert_eq!((link.caused_by.as_deref(), link.hop), (Some("middle"), 2));
}

#[test]
fn there_is_a_cap() {
    let mut hops = Hops::default();
    for n in 0..limits::CALLS_OPEN as u64 {
        assert!(hops.begin(place(n), begun("a", FRONT, 0)));
    }
    assert!(!hops.begin(place(u64::MAX), begun("b", FRONT, 0)));
    assert_eq!(hops.end(place(u64::MAX), 1), None);
    hops.end(place(0), 1);
    assert!(
        hops.begin(place(u64::MAX), begun("b", FRONT, 0)),
        "one that is over makes room"
    );
}

proptest! {
    /// Whoever is named was open, was alone with what decided, and answers in the process that asked.
    #[test]
    fn a_cause_is_never_one_of_several_that_fit(prompts in prop::collection::vec("[ab]", 0..6), own in "[abc]") {
        let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
        let link = inner(&mut front(&prompts), begun("in", BACK, 50), &own);
        let fitting = prompts.iter().filter(|prompt| **prompt == own).count();
        match link.how {
            "prompt_hash" => prop_assert_eq!(fitting, 1),
            "process_time" => prop_assert!(fitting == 0 && prompts.len() == 1),
            "ambiguous" => prop_assert!(fitting > 1 || (fitting == 0 && prompts.len() > 1)),
            other => prop_assert_eq!((other, prompts.len()), ("none", 0)),
        }
        prop_assert_eq!(link.caused_by.is_some(), matches!(link.how, "prompt_hash" | "process_time"));
    }

    #[test]
    fn any_prompt_is_taken(prompt in prop::collection::vec(any::<u8>(), 0..64)) {
        let found = needle(&prompt);
        prop_assert!(found.is_none_or(|needle| prompt.windows(needle.len()).any(|window| window == needle)));
    }
}
