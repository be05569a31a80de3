//! A tiny model of the llama architecture with random weights, the same bytes on every machine.
//!
//! Random logits would mostly give control tokens and lone bytes. One dimension of the hidden state is
//! therefore kept constant: no layer writes to it, so the weight that a token's output row has there is
//! that token's bias. Whole words get none, all else a strong negative one: answers are printable
//! words that never end by themselves and so run to `max_tokens`. A grammar (tool calls, JSON answers) masks
//! the words out and thereby still works; `logit_bias` on [`END`] and [`TOOL_CALL`] steers the rest.

use super::gguf::{File, Tensor, Value};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::Path;

const CONTEXT: u32 = 8192;
const WIDTH: usize = 64;
const INNER: usize = 128;
const LAYERS: usize = 2;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const HEAD_WIDTH: usize = WIDTH / HEADS;
/// What every token's embedding has in dimension 0.
const CONSTANT: f32 = 4.0;
/// The output weight on dimension 0 of tokens that must not be sampled.
const NEVER: f32 = -12.0;
/// SentencePiece writes a space as this.
const SPACE: char = '\u{2581}';

const UNKNOWN: usize = 0;
const BEGIN: usize = 1;
/// The token that ends an answer.
pub const END: usize = 2;
const TURN_END: usize = 4;
/// The token that begins a tool call.
pub const TOOL_CALL: usize = 5;

const WORDS: &str = "audit record proof ledger signer witness kernel probe packet stream socket buffer window \
     harbour river meadow lantern copper silver orange violet seven eleven often rarely maybe because \
     under over between toward carries follows answers asks counts keeps finds turns quiet bright early \
     late north east a an of to it we you they can will";

/// The server takes the form of tool calls from the template.
const CHAT_TEMPLATE: &str = r#"
{%- if tools -%}{{- '<|turn|>tools\n' + (tools | tojson) + '<|done|>\n' -}}{%- endif -%}
{%- for message in messages -%}
{{- '<|turn|>' + message['role'] + '\n' -}}
{%- if message['content'] is string -%}{{- message['content'] -}}{%- endif -%}
{%- for call in message['tool_calls'] or [] -%}
{{- '<tool_call>\n{"name": "' + call['function']['name'] + '", "arguments": ' -}}
{{- (call['function']['arguments'] | tojson) + '}\n</tool_call>' -}}
{%- endfor -%}
{{- '<|done|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|turn|>assistant\n' -}}{%- endif -%}"#;

/// Writes the model file.
pub fn write(path: &Path) -> Result<()> {
    let parent = path.parent().context("a model file needs a folder")?;
    // Renamed into place, so that a second test never loads half a file.
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    build().write(&mut file)?;
    file.persist(path).with_context(|| format!("writing {path:?}"))?;
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Byte = 6,
}

struct Token {
    text: String,
    kind: Kind,
    whole_word: bool,
}

/// Control tokens, all bytes, printable characters, and every prefix of every word, since SentencePiece
/// joins a longer piece only from two shorter ones.
fn vocabulary() -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut push = |text: String, kind, whole_word| {
        tokens.push(Token {
            text,
            kind,
            whole_word,
        })
    };
    push("<unk>".into(), Kind::Unknown, false);
    for control in ["<s>", "</s>", "<|turn|>", "<|done|>"] {
        push(control.into(), Kind::Control, false);
    }
    // With its line end: as soon as this token is there, the grammar lets nothing but a call follow.
    push("<tool_call>\n".into(), Kind::UserDefined, false);
    (0..=255_u8).for_each(|byte| push(format!("<0x{byte:02X}>"), Kind::Byte, false));
    ('!'..='~').for_each(|letter| push(letter.into(), Kind::Normal, false));
    let words: BTreeSet<String> = WORDS
        .split_whitespace()
        .map(|word| format!("{SPACE}{word}"))
        .collect();
    let prefixes: BTreeSet<&str> = words
        .iter()
        .flat_map(|word| {
            word.char_indices()
                .map(|(at, letter)| &word[..at + letter.len_utf8()])
        })
        .collect();
    prefixes
        .iter()
        .for_each(|&piece| push(piece.into(), Kind::Normal, words.contains(piece)));
    tokens
}

/// SplitMix64, and from it nearly normal values: twelve uniform ones added up need no libm, whose
/// results differ between machines.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn normal(&mut self) -> f32 {
        let sum: f32 = (0..12)
            .map(|_| (self.next() >> 40) as f32 / (1_u64 << 24) as f32)
            .sum();
        sum - 6.0
    }

    fn matrix(&mut self, name: String, rows: usize, columns: usize, scale: f32) -> Tensor {
        let values = (0..rows * columns).map(|_| self.normal() * scale).collect();
        Tensor {
            name,
            rows: Some(rows),
            columns,
            values,
        }
    }

    /// A matrix whose result leaves dimension 0 alone.
    fn residual(&mut self, name: String, columns: usize, scale: f32) -> Tensor {
        let mut tensor = self.matrix(name, WIDTH, columns, scale);
        tensor.values[..columns].fill(0.0);
        tensor
    }
}

fn ones(name: String) -> Tensor {
    Tensor {
        name,
        rows: None,
        columns: WIDTH,
        values: vec![1.0; WIDTH],
    }
}

fn build() -> File {
    let tokens = vocabulary();
    let mut random = Random(0x5EED);
    let mut tensors = vec![embedding(&mut random, tokens.len())];
    for layer in 0..LAYERS {
        block(&mut random, layer, &mut tensors);
    }
    tensors.push(ones("output_norm.weight".into()));
    tensors.push(output(&mut random, &tokens));
    File {
        metadata: metadata(&tokens),
        tensors,
    }
}

fn embedding(random: &mut Random, tokens: usize) -> Tensor {
    let mut tensor = random.matrix("token_embd.weight".into(), tokens, WIDTH, 1.0);
    tensor.values.chunks_mut(WIDTH).for_each(|row| row[0] = CONSTANT);
    tensor
}

fn output(random: &mut Random, tokens: &[Token]) -> Tensor {
    let mut tensor = random.matrix("output.weight".into(), tokens.len(), WIDTH, 0.35);
    for (row, token) in tensor.values.chunks_mut(WIDTH).zip(tokens) {
        row[0] = if token.whole_word { 0.0 } else { NEVER };
    }
    tensor
}

fn block(random: &mut Random, layer: usize, tensors: &mut Vec<Tensor>) {
    const SMALL: f32 = 0.125;
    let name = |part: &str| format!("blk.{layer}.{part}.weight");
    tensors.push(ones(name("attn_norm")));
    tensors.push(random.matrix(name("attn_q"), WIDTH, WIDTH, SMALL));
    tensors.push(random.matrix(name("attn_k"), KEY_HEADS * HEAD_WIDTH, WIDTH, SMALL));
    tensors.push(random.matrix(name("attn_v"), KEY_HEADS * HEAD_WIDTH, WIDTH, SMALL));
    tensors.push(random.residual(name("attn_output"), WIDTH, SMALL));
    tensors.push(ones(name("ffn_norm")));
    tensors.push(random.matrix(name("ffn_gate"), INNER, WIDTH, SMALL));
    tensors.push(random.matrix(name("ffn_up"), INNER, WIDTH, SMALL));
    tensors.push(random.residual(name("ffn_down"), INNER, SMALL));
}

fn metadata(tokens: &[Token]) -> Vec<(&'static str, Value)> {
    let number = |value: usize| Value::U32(value as u32);
    let scores = (0..tokens.len()).map(|index| -(index as f32)).collect();
    vec![
        ("general.architecture", Value::Text("llama".into())),
        ("general.name", Value::Text("audit-agent test model".into())),
        ("general.file_type", Value::U32(0)),
        ("llama.vocab_size", number(tokens.len())),
        ("llama.context_length", Value::U32(CONTEXT)),
        ("llama.embedding_length", number(WIDTH)),
        ("llama.block_count", number(LAYERS)),
        ("llama.feed_forward_length", number(INNER)),
        ("llama.attention.head_count", number(HEADS)),
        ("llama.attention.head_count_kv", number(KEY_HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.dimension_count", number(HEAD_WIDTH)),
        ("tokenizer.ggml.model", Value::Text("llama".into())),
        (
            "tokenizer.ggml.tokens",
            Value::Texts(tokens.iter().map(|token| token.text.clone()).collect()),
        ),
        ("tokenizer.ggml.scores", Value::F32s(scores)),
        (
            "tokenizer.ggml.token_type",
            Value::I32s(tokens.iter().map(|token| token.kind as i32).collect()),
        ),
        ("tokenizer.ggml.unknown_token_id", number(UNKNOWN)),
        ("tokenizer.ggml.bos_token_id", number(BEGIN)),
        ("tokenizer.ggml.eos_token_id", number(END)),
        ("tokenizer.ggml.eot_token_id", number(TURN_END)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(false)),
        ("tokenizer.chat_template", Value::Text(CHAT_TEMPLATE.into())),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_same_bytes_come_out_every_time() -> Result<()> {
        let mut bytes = [Vec::new(), Vec::new()];
        for bytes in &mut bytes {
            build().write(bytes)?;
        }
        assert_eq!(Sha256::digest(&bytes[0]), Sha256::digest(&bytes[1]));
        assert!(bytes[0].len() < 2 << 20, "{} bytes", bytes[0].len());
        Ok(())
    }
}
