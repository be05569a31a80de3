//! An answer as it grows: choices, tool calls, log-probabilities, usage.
//!
//! In: pieces of a stream, or the one piece of a plain answer. Out: the answer's part of a [`Call`]. A streamed and a
//! plain answer with the same text give the same canonical completion.

mod cumulative;
mod tokens;

pub use tokens::{timed, timings, usage};

use super::halves::{Halves, Part};
use super::squeeze::Shape;
use super::{json, thinking};
use crate::call::{Call, Choice, Confidence, TokensSource, ToolCall};
use crate::limits;
use crate::limits::cut;
use cumulative::Cumulative;
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
    /// Nothing more is held.
    released: bool,
    logprobs: (u64, f64, f64),
    cumulative: BTreeMap<u64, Cumulative>,
    halves: Halves,
    /// What was left out of the body that is being read.
    pub shape: Shape,
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
        let fits = !self.released && self.bytes + len <= limits::BODY_BYTES;
        self.over_cap |= !fits;
        self.bytes += if fits { len } else { 0 };
        fits
    }

    /// Whether halves of characters are marked in the event that comes now.
    pub fn marked(&mut self, marked: bool) {
        self.halves.marked = marked;
    }

    /// The text that `part` of a choice is.
    fn part(&mut self, index: u64, part: Part) -> Option<&mut String> {
        let choice = self.choice(index)?;
        match part {
            Part::Text => Some(&mut choice.text),
            Part::Reasoning => Some(&mut choice.reasoning),
            Part::Arguments(at) => choice.tool_calls.get_mut(at).map(|call| &mut call.arguments),
        }
    }

    fn append(&mut self, index: u64, part: Part, piece: &str) {
        let mut halves = std::mem::take(&mut self.halves);
        if let Some(text) = self.part(index, part) {
            halves.append(index, part, text, piece);
        }
        self.halves = halves;
    }

    pub fn text(&mut self, index: u64, text: &str) -> bool {
        if self.take(text.len()) {
            self.append(index, Part::Text, text);
        }
        !text.is_empty()
    }

    /// A piece of a server that sends the text so far each time, or only what is new: its pieces tell which.
    pub fn cumulative_text(&mut self, index: u64, text: &str) -> bool {
        if self.choice(index).is_none() {
            return !text.is_empty();
        }
        let text = self.halves.whole(text);
        let cumulative = self.cumulative.entry(index).or_default();
        let before = cumulative.bytes();
        cumulative.push(&text);
        let grown = cumulative.bytes().saturating_sub(before);
        if !self.take(grown)
            && let Some(cumulative) = self.cumulative.get_mut(&index)
        {
            cumulative.clear();
        }
        grown > 0
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.bytes
    }

    /// Gives up every text, and takes no more of them; finish reasons stay.
    pub fn release(&mut self) {
        if self.bytes > 0 {
            (self.over_cap, self.released, self.bytes) = (true, true, 0);
            self.cumulative.clear();
            self.halves.clear();
            for choice in self.choices.values_mut() {
                (choice.text, choice.reasoning) = (String::new(), String::new());
                choice.tool_calls = Vec::new();
            }
        }
    }

    /// What the server says the text is in the end, in place of the pieces that came before.
    pub fn whole_text(&mut self, index: u64, text: &str) {
        self.cumulative.remove(&index);
        self.halves.forget(index, Part::Text);
        if let Some(choice) = self.choice(index) {
            let before = choice.text.len();
            choice.text.clear();
            self.bytes = self.bytes.saturating_sub(before);
        }
        self.text(index, text);
    }

    /// Forgets what pieces gave, because the whole answer follows.
    pub fn restart(&mut self) {
        self.choices.clear();
        self.cumulative.clear();
        self.halves.clear();
        self.bytes = 0;
        self.logprobs = (0, 0.0, 0.0);
    }

    pub fn reasoning(&mut self, index: u64, text: &str) -> bool {
        if self.take(text.len()) {
            self.append(index, Part::Reasoning, text);
        }
        !text.is_empty()
    }

    pub fn finish_reason(&mut self, index: u64, reason: &str) {
        if let Some(choice) = self.choice(index) {
            choice.finish_reason = Some(cut(reason));
        }
    }

    pub fn choices(&self) -> usize {
        self.choices.len()
    }

    pub fn finished(&self) -> bool {
        self.choices.values().any(|choice| choice.finish_reason.is_some())
    }

    /// A whole tool call.
    pub fn whole_tool_call(&mut self, index: u64, id: Option<&str>, name: Option<&str>, arguments: &str) {
        if !self.take(arguments.len()) {
            return;
        }
        let arguments = self.halves.whole(arguments);
        let Some(choice) = self.choice(index) else { return };
        if choice.tool_calls.len() >= limits::TOOL_CALLS {
            self.over_cap = true;
            return;
        }
        choice.tool_calls.push(ToolCall {
            id: id.filter(|id| !id.is_empty()).map(cut),
            name: name.filter(|name| !name.is_empty()).map(cut),
            arguments,
        });
    }

    /// More arguments of the tool call that began last.
    pub fn more_arguments(&mut self, index: u64, piece: &str) -> bool {
        if self.take(piece.len())
            && let Some(last) = self
                .choice(index)
                .and_then(|choice| choice.tool_calls.len().checked_sub(1))
        {
            self.append(index, Part::Arguments(last), piece);
        }
        !piece.is_empty()
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
            self.append(index, Part::Arguments(at), &arguments);
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
    pub fn finish(mut self, call: &mut Call, whole: bool) {
        for (index, cumulative) in std::mem::take(&mut self.cumulative) {
            if let Some(choice) = self.choice(index) {
                choice.text.push_str(&cumulative.finish());
            }
        }
        let waiting: Vec<_> = self.halves.waiting().collect();
        // Of an answer that broke off, the other half may have been to come.
        for (index, part) in waiting.into_iter().filter(|_| whole) {
            if let Some(text) = self.part(index, part) {
                text.push(char::REPLACEMENT_CHARACTER);
            }
        }
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
        call.choices = self.choices.into_values().map(told_apart).collect();
        if whole && !self.over_cap {
            call.completion_canonical = canonical(&call.choices);
        }
        // A tool's answer, a picture or a sound has pieces that are no tokens.
        let generated = matches!(call.operation, "chat" | "text_completion") && call.api != "mcp";
        if call.output_tokens.is_some() || !generated {
            return;
        }
        if tokens > 0 && whole {
            call.output_tokens = Some(tokens);
            call.tokens_source = TokensSource::CountedTokens;
        } else if self.chunks > 0 {
            call.output_tokens = Some(self.chunks);
            call.tokens_source = TokensSource::CountedChunks;
        }
    }
}

/// The choice with its reasoning apart, where the model wrote it into its text.
fn told_apart(mut choice: Choice) -> Choice {
    if let Some(parts) = thinking::split(&choice.text).filter(|_| choice.reasoning.is_empty()) {
        choice.reasoning = parts.reasoning;
        choice.text = parts.answer;
    }
    choice
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
