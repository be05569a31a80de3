//! An answer as it grows: choices, tool calls, log-probabilities, usage.
//!
//! In: pieces of a stream, or the one piece of a plain answer. Out: the answer's part of a [`Call`]. A streamed and a
//! plain answer with the same text give the same canonical completion.

use super::json;
use crate::call::{Call, Choice, Confidence, TokensSource, ToolCall};
use crate::limits;
use crate::limits::cut;
use serde_json::Value;
use std::collections::BTreeMap;

/// Log-probabilities at or below this are a server's way to write minus infinity (llama.cpp: -3.4e38).
const LOGPROB_FLOOR: f64 = -1e30;

#[derive(Debug, Default)]
pub struct Answer {
    choices: BTreeMap<u64, Choice>,
    /// Text, reasoning and arguments that are held.
    bytes: usize,
    over_cap: bool,
    logprobs: (u64, f64, f64),
    pub first_token_ns: Option<u64>,
    pub last_token_ns: Option<u64>,
    pub chunks: u64,
}

impl Answer {
    fn choice(&mut self, index: u64) -> Option<&mut Choice> {
        if self.choices.len() >= limits::CHOICES && !self.choices.contains_key(&index) {
            self.over_cap = true;
            return None;
        }
        Some(self.choices.entry(index).or_insert_with(|| Choice {
            index,
            ..Choice::default()
        }))
    }

    /// Room for `len` more bytes, or the cap is noted.
    fn take(&mut self, len: usize) -> bool {
        let fits = self.bytes + len <= limits::BODY_BYTES;
        self.over_cap |= !fits;
        self.bytes += if fits { len } else { 0 };
        fits
    }

    pub fn text(&mut self, index: u64, text: &str) -> bool {
        if self.take(text.len())
            && let Some(choice) = self.choice(index)
        {
            choice.text.push_str(text);
        }
        !text.is_empty()
    }

    pub fn reasoning(&mut self, index: u64, text: &str) -> bool {
        if self.take(text.len())
            && let Some(choice) = self.choice(index)
        {
            choice.reasoning.push_str(text);
        }
        !text.is_empty()
    }

    pub fn finish_reason(&mut self, index: u64, reason: &str) {
        if let Some(choice) = self.choice(index) {
            choice.finish_reason = Some(cut(reason));
        }
    }

    pub fn finished(&self) -> bool {
        self.choices.values().any(|choice| choice.finish_reason.is_some())
    }

    /// A tool call, or a piece of one: pieces are told apart by their `index`; without one, an id begins a new call.
    pub fn tool_call(&mut self, index: u64, piece: &Value) -> bool {
        let function = piece.get("function").unwrap_or(piece);
        let id = json::text(piece, "id").filter(|id| !id.is_empty());
        let name = json::text(function, "name").filter(|name| !name.is_empty());
        let arguments = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(object) => object.to_string(),
        };
        if !self.take(arguments.len()) {
            return true;
        }
        let number = json::number(piece, "index");
        let Some(choice) = self.choice(index) else {
            return true;
        };
        let calls = &mut choice.tool_calls;
        let begins = match (number, calls.last()) {
            (_, None) => true,
            (Some(number), Some(_)) if (number as usize) < calls.len() => {
                // A repeated number with a new id is another call of a server that does not count.
                let same = calls
                    .get(number as usize)
                    .is_some_and(|call| call.id.as_deref() == id);
                id.is_some() && !same
            }
            (Some(_), Some(_)) => true,
            (None, Some(last)) => id.is_some() && last.id.as_deref() != id,
        };
        if begins && calls.len() >= limits::TOOL_CALLS {
            self.over_cap = true;
            return true;
        }
        if begins {
            calls.push(ToolCall::default());
        }
        let at = if begins {
            calls.len() - 1
        } else {
            number.map_or(calls.len() - 1, |number| number as usize)
        };
        if let Some(call) = calls.get_mut(at) {
            call.id = call.id.take().or_else(|| id.map(cut));
            call.name = call.name.take().or_else(|| name.map(cut));
            call.arguments.push_str(&arguments);
        }
        true
    }

    /// One token's log-probability.
    pub fn logprob(&mut self, logprob: f64) {
        if logprob > LOGPROB_FLOOR {
            let (tokens, sum, lowest) = self.logprobs;
            self.logprobs = (
                tokens + 1,
                sum + logprob,
                if tokens == 0 { logprob } else { lowest.min(logprob) },
            );
        }
    }

    /// A piece of a stream carried something that the model said.
    pub fn spoke_at(&mut self, time_ns: u64) {
        self.first_token_ns.get_or_insert(time_ns);
        self.last_token_ns = Some(time_ns);
        self.chunks += 1;
    }

    /// Writes the answer into `call`; `whole` when no byte of it is missing.
    pub fn finish(self, call: &mut Call, whole: bool) {
        let (tokens, sum, min_logprob) = self.logprobs;
        if tokens > 0 {
            call.confidence = Some(Confidence {
                tokens,
                mean_logprob: sum / tokens as f64,
                min_logprob,
            });
        }
        if self.over_cap {
            call.notes.push("completion_over_cap");
        }
        call.first_token_ns = self.first_token_ns;
        call.last_token_ns = self.last_token_ns;
        call.chunks = self.chunks;
        call.choices = self.choices.into_values().collect();
        if whole && !self.over_cap {
            call.completion_canonical = canonical(&call.choices);
        }
        if call.output_tokens.is_none() && tokens > 0 && whole {
            call.output_tokens = Some(tokens);
            call.tokens_source = TokensSource::CountedTokens;
        }
    }
}

/// One choice: its text. Several: the RFC 8785 array of their texts, by index.
fn canonical(choices: &[Choice]) -> Option<Vec<u8>> {
    match choices {
        [] => None,
        [choice] => Some(choice.text.clone().into_bytes()),
        many => {
            let texts: Vec<&str> = many.iter().map(|choice| choice.text.as_str()).collect();
            serde_json_canonicalizer::to_vec(&texts).ok()
        }
    }
}

/// Token counts of a `usage` object; a later one replaces an earlier one.
pub fn usage(call: &mut Call, usage: &Value) {
    let input = json::number(usage, "prompt_tokens").or_else(|| json::number(usage, "input_tokens"));
    let output = json::number(usage, "completion_tokens").or_else(|| json::number(usage, "output_tokens"));
    if input.is_none() && output.is_none() {
        return;
    }
    let detail = |object: &str, name: &str| usage.get(object).and_then(|details| json::number(details, name));
    call.tokens_source = TokensSource::ServerUsage;
    call.input_tokens = input.or(call.input_tokens);
    call.output_tokens = output.or(call.output_tokens);
    call.cached_tokens = detail("prompt_tokens_details", "cached_tokens").or(call.cached_tokens);
    let reasoning = detail("completion_tokens_details", "reasoning_tokens");
    call.reasoning_tokens = reasoning
        .or_else(|| json::number(usage, "reasoning_tokens"))
        .or(call.reasoning_tokens);
}

/// llama.cpp's `timings`: `prompt_n` leaves out what came from the cache. `usage` goes before it.
pub fn timings(call: &mut Call, timings: &Value) {
    let cached = json::number(timings, "cache_n");
    call.cached_tokens = call.cached_tokens.or(cached);
    let prompt = json::number(timings, "prompt_n").map(|n| n + cached.unwrap_or(0));
    let predicted = json::number(timings, "predicted_n");
    if call.input_tokens.is_none()
        && call.output_tokens.is_none()
        && (prompt.is_some() || predicted.is_some())
    {
        call.input_tokens = prompt;
        call.output_tokens = predicted;
        call.tokens_source = TokensSource::ServerUsage;
    }
}
