use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn squeezed(keep: Keep, text: &[u8], cut: usize) -> (Vec<u8>, Shape) {
    let mut squeeze = Squeeze::new(keep);
    text.chunks(cut.max(1)).for_each(|piece| squeeze.push(piece));
    squeeze.finish()
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)))
}

#[test]
fn a_text_within_the_caps_says_the_same() {
    let text = br#" {"a" : [ 1 , 2.5,null,[true,{"b\"]":"x,\u00e9\\"}]] , "c":"{[,]}" } "#;
    let (out, shape) = squeezed(Keep::Text, text, 3);
    assert_eq!((value(&out), shape.lossy, shape.longest), (value(text), false, 3));
}

#[test]
fn long_vectors_leave_their_number_and_length() {
    let vector: Vec<f64> = (0..768).map(|n| f64::from(n) / 7.0).collect();
    let data: Vec<Value> = (0..30)
        .map(|n| json!({"index": n, "embedding": vector}))
        .collect();
    let text = json!({"data": data, "usage": {"prompt_tokens": 9}}).to_string();
    let (out, shape) = squeezed(Keep::Shape, text.as_bytes(), 11);
    let out = value(&out);
    assert_eq!(
        (shape.longest, out["data"].as_array().map(Vec::len)),
        (768, Some(30))
    );
    assert_eq!(
        (
            out["data"][29]["index"].as_u64(),
            out["usage"]["prompt_tokens"].as_u64()
        ),
        (Some(29), Some(9))
    );
}

#[test]
fn the_usage_behind_ten_megabytes_of_text_is_kept() {
    let text = json!({"a": "x\u{1f600}\\n".repeat(2_000_000), "usage": {"n": 1}}).to_string();
    let (out, shape) = squeezed(Keep::Text, text.as_bytes(), 65_536);
    assert_eq!((value(&out)["usage"]["n"].as_u64(), shape.lossy), (Some(1), true));
    assert!(out.len() <= limits::JSON_SQUEEZED_BYTES);
}

#[test]
fn the_usage_behind_a_million_objects_is_kept() {
    let list = r#"{"token":"a","logprob":-0.5},"#.repeat(1_000_000);
    let text = format!(r#"{{"l":[{list}{{}}],"usage":{{"n":1}}}}"#);
    let (out, shape) = squeezed(Keep::Text, text.as_bytes(), 65_536);
    assert_eq!(value(&out)["usage"]["n"], 1);
    let kept = value(&out)["l"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!((shape.lossy, kept + shape.dropped[2]), (true, 1_000_001));
}

#[test]
fn what_cannot_be_squeezed_is_given_up() {
    let members: String = (0..2_000_000).map(|n| format!("\"{n}\":0,")).collect();
    for text in [format!("{{{members}\"a\":1}}"), "[".repeat(10_000_000)] {
        let (out, shape) = squeezed(Keep::Text, text.as_bytes(), 65_536);
        assert!(out.len() <= limits::JSON_SQUEEZED_BYTES && shape.lossy);
    }
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        any::<Option<i32>>().prop_map(|n| json!(n)),
        "[a\"\\\\é😀,\\]\\}\n]{0,8}".prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(4, 64, 24, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..24).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    tree.prop_map(|value| serde_json::to_string_pretty(&value).unwrap_or_default())
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_text(text in json_text(), cut in 1usize..64) {
        for keep in [Keep::Text, Keep::Shape, Keep::Count] {
            prop_assert_eq!(squeezed(keep, text.as_bytes(), cut), squeezed(keep, text.as_bytes(), text.len()));
        }
    }

    #[test]
    fn json_stays_json(text in json_text()) {
        prop_assert_eq!(value(&squeezed(Keep::Text, text.as_bytes(), 7).0), value(text.as_bytes()));
        for keep in [Keep::Shape, Keep::Count] {
            value(&squeezed(keep, text.as_bytes(), 7).0);
        }
    }

    #[test]
    fn what_is_only_counted_is_measured_as_if_it_were_kept(text in json_text()) {
        let [shape, count] = [Keep::Shape, Keep::Count].map(|keep| squeezed(keep, text.as_bytes(), 7).1);
        prop_assert_eq!((shape.longest, shape.longest_string), (count.longest, count.longest_string));
    }

    #[test]
    fn every_element_is_kept_or_counted(list in prop::collection::vec(json_text(), 0..64)) {
        let text = format!("{{\"l\":[{}]}}", list.join(", "));
        let (out, shape) = squeezed(Keep::Count, text.as_bytes(), 7);
        let kept = value(&out)["l"].as_array().map_or(0, Vec::len);
        prop_assert_eq!(kept, list.len().min(limits::JSON_SHAPE_ELEMENTS as usize));
        prop_assert_eq!(kept as u64 + shape.dropped[2], list.len() as u64);
    }

    #[test]
    fn no_bytes_do_harm(bytes in any::<Vec<u8>>(), cut in 1usize..8) {
        for keep in [Keep::Shape, Keep::Count] {
            squeezed(keep, &bytes, cut);
        }
    }
}
