use super::super::grpc::call::tests::{begin, field, number, say, trailers};
use super::super::{Decoder, End, Side};
use super::*;

const VLLM: &str = "/vllm.grpc.engine.VllmEngine/Generate";
const SGLANG: &str = "/sglang.grpc.scheduler.SglangScheduler/Generate";

fn ended(mut decoder: Box<dyn Decoder>) -> Call {
    trailers(&mut decoder, "0");
    decoder.finish(End::Complete)
}

fn prompt(call: &Call) -> &str {
    std::str::from_utf8(call.prompt_canonical.as_deref().unwrap()).unwrap()
}

/// Token ids, and counts of prompt, completion and cached tokens.
fn chunk(ids: &[u8], counts: [u8; 3]) -> Vec<u8> {
    let [prompt, completion, cached] = counts;
    [
        field(1, ids),
        number(2, prompt),
        number(3, completion),
        number(4, cached),
    ]
    .concat()
}

fn complete(ids: &[u8], reason: &str, counts: [u8; 3]) -> Vec<u8> {
    let [prompt, completion, cached] = counts;
    [
        field(1, ids),
        field(2, reason.as_bytes()),
        number(3, prompt),
        number(4, completion),
        number(5, cached),
    ]
    .concat()
}

fn asked_of_vllm() -> Vec<u8> {
    let params = [b"\x0d\x33\x33\x33\x3f".to_vec(), number(8, 16), number(24, 7)].concat();
    [
        field(1, b"req-1"),
        field(3, b"hi"),
        field(4, &params),
        number(5, 1),
    ]
    .concat()
}

#[test]
fn a_stream_of_vllm_is_counted_in_both_forms_that_its_answers_had() {
    for with_id in [false, true] {
        let wrap = |kind: u8, message: &[u8]| match with_id {
            true => [field(1, b"req-1"), field(kind + 1, message)].concat(),
            false => field(kind, message),
        };
        let mut decoder = begin(VLLM);
        say(&mut decoder, Side::Client, &asked_of_vllm(), 1);
        say(
            &mut decoder,
            Side::Server,
            &wrap(1, &chunk(&[5, 6], [3, 2, 1])),
            10,
        );
        say(&mut decoder, Side::Server, &wrap(1, &chunk(&[7], [3, 3, 1])), 20);
        say(
            &mut decoder,
            Side::Server,
            &wrap(2, &complete(&[5, 6, 7], "length", [3, 3, 1])),
            21,
        );
        let call = ended(decoder);
        assert_eq!(
            (call.input_tokens, call.output_tokens, call.cached_tokens),
            (Some(3), Some(3), Some(1)),
            "with an id: {with_id}"
        );
        assert_eq!(
            (call.first_token_ns, call.last_token_ns, call.stream),
            (Some(10), Some(20), Some(true))
        );
        assert_eq!(call.choices[0].finish_reason.as_deref(), Some("length"));
        assert_eq!((&call.error, &call.completion_canonical), (&None, &None));
        assert_eq!(
            (prompt(&call), call.notes.as_slice()),
            (r#""hi""#, &["answer_in_token_ids"][..])
        );
        assert_eq!(
            (
                call.params["temperature"].as_f64(),
                call.params["max_tokens"].as_u64()
            ),
            (Some(0.7), Some(16))
        );
    }
}

#[test]
fn token_ids_are_the_prompt_where_no_text_is_beside_them() {
    let mut decoder = begin(SGLANG);
    let ids = field(2, &field(2, &[1, 0x96, 0x01]));
    say(&mut decoder, Side::Client, &[field(1, b"r"), ids].concat(), 1);
    assert_eq!(decoder.prompt(), Some(&b"[1,150]"[..]));
    let mut decoder = begin(SGLANG);
    let both = field(2, &[field(1, b"hi"), field(2, &[1])].concat());
    say(&mut decoder, Side::Client, &[field(1, b"r"), both].concat(), 1);
    assert_eq!(decoder.prompt(), Some(&br#""hi""#[..]));
}

#[test]
fn several_samples_of_sglang_add_up() {
    let mut decoder = begin(SGLANG);
    let images = field(3, &[field(1, b"http://h/a.png"), field(5, b"\x89PNG")].concat());
    let asked = [field(1, b"r"), images, b"\x88\x01\x01".to_vec()].concat();
    say(&mut decoder, Side::Client, &asked, 1);
    for index in [0, 1] {
        let whole = [
            complete(&[1, 2], "stop", [9, 2, 0]),
            number(11, index),
            number(12, 1),
        ]
        .concat();
        let answer = [field(1, b"r"), field(3, &whole)].concat();
        say(&mut decoder, Side::Server, &answer, 5);
    }
    let call = ended(decoder);
    assert_eq!(
        (call.input_tokens, call.output_tokens, call.reasoning_tokens),
        (Some(9), Some(4), Some(2))
    );
    assert_eq!((call.choices.len(), call.attachments.len()), (2, 2));
    assert_eq!(
        (call.attachments[0].source, call.attachments[1].bytes),
        ("url", Some(4))
    );
}

#[test]
fn log_probabilities_are_read_once() {
    let mut decoder = begin(VLLM);
    say(&mut decoder, Side::Client, &asked_of_vllm(), 1);
    let logprobs = |values: &[f32]| {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        field(1, &packed)
    };
    let piece = [chunk(&[5], [3, 1, 0]), field(5, &logprobs(&[-0.5]))].concat();
    say(&mut decoder, Side::Server, &field(1, &piece), 10);
    let whole = [complete(&[5], "stop", [3, 1, 0]), field(6, &logprobs(&[-0.5]))].concat();
    say(&mut decoder, Side::Server, &field(2, &whole), 11);
    let confidence = ended(decoder).confidence.unwrap();
    assert_eq!((confidence.tokens, confidence.min_logprob), (1, -0.5));
}

#[test]
fn an_error_in_an_answer_is_that_of_the_call() {
    let mut decoder = begin(SGLANG);
    let error = [field(1, b"out of memory"), field(2, b"503")].concat();
    let answer = [field(1, b"r"), field(4, &error)].concat();
    say(&mut decoder, Side::Server, &answer, 5);
    let error = ended(decoder).error.unwrap();
    assert_eq!(
        (error.kind.as_str(), error.message.as_deref()),
        ("http_503", Some("out of memory"))
    );
}

#[test]
fn embeddings_are_counted_in_each_form_that_they_had() {
    let vector = [0; 12];
    let wrapped = [
        field(1, b"r"),
        field(2, &[field(1, &vector), number(2, 4)].concat()),
    ]
    .concat();
    let flat_vllm = [field(1, &vector), number(2, 4), number(3, 3)].concat();
    let flat_sglang = [number(4, 3), field(5, &vector), number(6, 4)].concat();
    for (path, answer) in [
        ("/vllm.grpc.engine.VllmEngine/Embed", &wrapped),
        ("/vllm.grpc.engine.VllmEngine/Embed", &flat_vllm),
        ("/sglang.grpc.scheduler.SglangScheduler/Embed", &wrapped),
        ("/sglang.grpc.scheduler.SglangScheduler/Embed", &flat_sglang),
    ] {
        let mut decoder = begin(path);
        let asked = [field(1, b"r"), field(2, &field(1, b"hi"))].concat();
        say(&mut decoder, Side::Client, &asked, 1);
        say(&mut decoder, Side::Server, answer, 2);
        let call = ended(decoder);
        let results = call.results.unwrap();
        assert_eq!(
            (results.dimensions, call.input_tokens),
            (Some(3), Some(4)),
            "{path}"
        );
        assert_eq!(prompt(&call), r#""hi""#);
    }
}
